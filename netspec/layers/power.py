"""Power: scaled, shifted, raised."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Power(Elementwise):
    """y = (shift + scale · x) ^ power.

    Shapes: any -> the same.
    Source: Caffe's Power. With power 0 or scale 0 the top is constant and no gradient flows. In place with power 1,
        Caffe's backward loses the gradient that comes in and gives scale² everywhere, and so does this.
    """

    settings = "power_param"

    def setup(self) -> None:
        self.in_place = list(self.proto.top) == list(self.proto.bottom)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        power, scale, shift = self.p.power, self.p.scale, self.p.shift
        if power == 0 or scale == 0:
            return torch.full_like(x, shift).pow(power)
        y = x.mul_(scale) if self.overwrite else x * scale
        y = y.add_(shift) if shift else y
        if power == 1 and self.in_place and y.requires_grad:
            y.register_hook(lambda gradient: torch.full_like(gradient, scale))
        return y if power == 1 else y.pow(power)
