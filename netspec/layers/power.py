"""Power: scaled, shifted, raised."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Power(Elementwise):
    """y = (shift + scale · x) ^ power.

    Shapes: any -> the same.
    Source: Caffe's Power. With power 0 or scale 0 the top is constant and no gradient flows. In place, Caffe's backward
        loses the gradient that comes in and takes the slope at y instead of x: what it gives is that slope squared,
        and so does this.
    """

    settings = "power_param"
    reusable_top = False

    def setup(self) -> None:
        self.in_place = list(self.proto.top) == list(self.proto.bottom)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        if self.p.power == 0 or self.p.scale == 0:
            return torch.full_like(x, self.p.shift).pow(self.p.power)
        if self.in_place and x.requires_grad and torch.is_grad_enabled():
            return _overwritten()(x, self)
        return self.raised(x)

    def raised(self, x: torch.Tensor) -> torch.Tensor:
        y = x.mul_(self.p.scale) if self.overwrite else x * self.p.scale
        y = y.add_(self.p.shift) if self.p.shift else y
        return y if self.p.power == 1 else y.pow(self.p.power)

    def pixelwise(self) -> bool:
        """In place the gradient is not that of the sum over places."""
        return not self.in_place

    def slope(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """power · scale · (shift + scale x) ^ (power − 1), by the products and quotients that Caffe takes."""
        power, scale, shift = self.p.power, self.p.scale, self.p.shift
        if power == 1:
            return torch.full_like(x, scale)
        if power == 2:
            return 2 * scale * (scale * x + shift)
        return power * scale * y / (scale * x + shift)


@lru_cache(maxsize=1)
def _overwritten() -> Any:
    """A Power whose top has taken the place of its bottom, and whose diffs share memory too."""

    class Overwritten(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, layer: Power) -> torch.Tensor:
            overwrite, layer.overwrite = layer.overwrite, False
            y = layer.raised(x)
            layer.overwrite = overwrite
            ctx.layer = layer
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
            (y,) = ctx.saved_tensors
            return ctx.layer.slope(y, y).square(), None

    return Overwritten.apply
