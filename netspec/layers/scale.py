"""Scale: a factor, and on demand a bias, along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import ParamBlob, Shape
from netspec.layers.broadcast import AlongAxes
from netspec.lazytorch import torch


class Scale(AlongAxes):
    """y = factor · x + bias; factor and bias have one value for each place of some axes (one per channel by default).

    The factor is learned and covers num_axes axes from `axis` (-1: to the end, 0: one factor for all), or it is bottom
    1, which covers as many axes as it has.
    Shapes: any, and on demand one that matches it from `axis` on -> the first.
    Blobs: weight (unless bottom 1 is the factor; 1 without a filler), bias (with bias_term; 0 without a filler).
    Errors: num_axes below -1; an axis outside the bottom; a factor that reaches past it or does not match.
    Source: Caffe's Scale. As there, the gradient of a learned factor of as many values as the bottom, or of several
        that nothing comes before (one image, a factor per channel), is that of the last pass: it does not add up.
    """

    settings = "scale_param"

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        _, shape = self.cover(bottoms)
        one = schema.new("FillerParameter", type="constant", value=1.0)
        weight = ParamBlob("weight", shape, self.p.filler if self.p.HasField("filler") else one)
        bias = ParamBlob("bias", shape, self.p.bias_filler)
        return [weight][: 2 - len(bottoms)] + [bias][: int(self.p.bias_term)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        factor, bias = self.values(bottoms, params)
        learned = torch.is_grad_enabled() and factor.requires_grad
        factor = self.spread(factor, bottoms)
        bias = None if bias is None else self.spread(bias, bottoms)
        if self.overwrite and not learned:
            y = x.mul_(factor)
            return [y if bias is None else y.add_(bias)]
        return [x * factor if bias is None else torch.addcmul(bias, x, factor)]

    def values(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The factor, which may forget its earlier gradient, and the bias."""
        factor = (*bottoms[1:], *params)[0]
        learned = torch.is_grad_enabled() and factor.requires_grad
        if learned and len(bottoms) == 1 and factor.is_leaf and self.forgets(tuple(bottoms[0].shape)):
            factor = _last_gradient()(factor)
        return factor, params[-1] if self.p.bias_term else None

    def forgets(self, bottom: Shape) -> bool:
        """Whether a pass replaces the gradient of the learned factor where others add to it."""
        axis, shape = self.cover([bottom])
        return prod(shape) == prod(bottom) or (prod(bottom[:axis]) == 1 and prod(shape) > 1)

    def linear(self) -> bool:
        return len(self.proto.bottom) == 1 and self.p.axis == 1 and self.p.num_axes == 1

    def factor_and_shift(self, params: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        return params[0], params[1] if self.p.bias_term else None

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0])


@lru_cache(maxsize=1)
def _last_gradient() -> Any:
    """A parameter as it is; its earlier gradient is cleared when a new one arrives."""

    class LastGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, parameter: torch.Tensor) -> torch.Tensor:
            ctx.parameter = parameter
            return parameter.view_as(parameter)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            if ctx.parameter.grad is not None:
                ctx.parameter.grad.detach().zero_()
            return grads[0]

    return LastGradient.apply
