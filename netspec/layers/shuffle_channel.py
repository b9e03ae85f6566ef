"""ShuffleChannel: channels of several groups interleaved."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class ShuffleChannel(Layer):
    """top[n, i · group + g] = bottom[n, g · (C / group) + i]: the channels, read as group rows, are transposed.

    Shapes: N x C x any -> the same.
    Errors: a group of 0, or that does not divide C.
    Source: ShuffleNet's ShuffleChannel (Zhang et al. 2017).
    """

    settings = "shuffle_channel_param"
    reusable_top = True

    def setup(self) -> None:
        if self.p.group < 1:
            raise self.fail("group must be at least 1", "group")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom = bottoms[0]
        if len(bottom) < 2 or bottom[1] % self.p.group:
            raise self.fail(f"group {self.p.group} does not divide the channels of bottom {list(bottom)}", "group")
        return [bottom]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, group = bottoms[0], self.p.group
        rows = x.reshape(x.shape[0], group, x.shape[1] // group, *x.shape[2:])
        return [rows.transpose(1, 2).clone(memory_format=torch.contiguous_format).flatten(1, 2)]

    def coord_map(self) -> CoordMap:
        return IDENTITY
