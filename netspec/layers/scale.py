"""Scale: a factor, and on demand a bias, along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

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
    Source: Caffe's Scale. Its gradient adds up over passes like any other (in Caffe that of a factor which no axis comes
        before, or of as many values as the bottom, is overwritten).
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
        factor = self.spread((bottoms[1:] + params)[0], bottoms)
        bias = self.spread(params[-1], bottoms) if self.p.bias_term else None
        keeps_x = torch.is_grad_enabled() and factor.requires_grad
        if self.overwrite and not keeps_x:
            y = x.mul_(factor)
            return [y if bias is None else y.add_(bias)]
        return [x * factor if bias is None else torch.addcmul(bias, x, factor)]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0])
