"""Bias: a summand along some axes."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import ParamBlob, Shape
from netspec.layers.broadcast import AlongAxes
from netspec.lazytorch import torch


class Bias(AlongAxes):
    """y = x + bias; the bias has one value for each place of some axes (one per channel by default).

    It is learned and covers num_axes axes from `axis` (-1: to the end, 0: one value for all), or it is bottom 1, which
    covers as many axes as it has.
    Shapes: any, and on demand one that matches it from `axis` on -> the first.
    Blobs: bias (unless it is bottom 1; 0 without a filler).
    Errors: num_axes below -1; an axis outside the bottom; a bias that reaches past it or does not match.
    Source: Caffe's Bias.
    """

    settings = "bias_param"

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        return [] if len(bottoms) > 1 else [ParamBlob("bias", self.cover(bottoms)[1], self.p.filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        bias = self.spread((bottoms[1:] + params)[0], bottoms)
        return [bottoms[0].add_(bias) if self.overwrite else bottoms[0] + bias]

    def coord_map(self) -> CoordMap:
        return IDENTITY
