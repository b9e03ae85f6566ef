"""Split: one value for several readers."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Split(Layer):
    """Every top is the bottom; its gradient is the sum of theirs.

    Shapes: any -> the same, once per top.
    Source: Caffe's Split, which nets get inserted wherever a blob has several readers.
    """

    tops = (1, None)
    aliases = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]] * len(self.proto.top)

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [bottoms[0].view_as(bottoms[0]) for _ in self.proto.top]

    def coord_map(self) -> CoordMap:
        return IDENTITY
