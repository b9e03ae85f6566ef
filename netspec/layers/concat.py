"""Concat: several blobs one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


class Concat(Layer):
    """top = the bottoms one after the other along `axis` (default 1, channels; `concat_dim` is its older name).

    Shapes: equal but along the axis -> the same, the axis the sum.
    Errors: axis and concat_dim both given; an axis outside the bottoms; bottoms that differ along another axis.
    Source: Caffe's Concat.
    """

    settings = "concat_param"
    bottoms = (1, None)
    reusable_top = True

    def setup(self) -> None:
        if self.p.HasField("axis") and self.p.HasField("concat_dim"):
            raise self.fail("give axis or its older name concat_dim, not both", "concat_dim")
        self.field = "concat_dim" if self.p.HasField("concat_dim") else "axis"
        self.axis: int = getattr(self.p, self.field)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        first = bottoms[0]
        axis = canonical_axis(self, self.axis, first, self.field)
        for index, shape in enumerate(bottoms[1:], 1):
            if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                raise self.fail(f"bottoms 0 and {index}, {list(first)} and {list(shape)}, differ beside axis {axis}")
        return [(*first[:axis], sum(shape[axis] for shape in bottoms), *first[axis + 1 :])]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [torch.cat(bottoms, self.axis)]

    def coord_map(self) -> CoordMap | None:
        return IDENTITY if self.axis in (0, 1) else None
