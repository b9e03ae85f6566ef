"""Slice: one blob cut into several."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


class Slice(Layer):
    """top_k = the bottom from slice_point k − 1 up to slice_point k along `axis`; without points, equal parts.

    Shapes: any -> the same but along the axis, where the tops' sizes add up to the bottom's.
    Errors: axis and slice_dim both given, an axis outside the bottom, more tops than values along it, points that do
        not increase, exceed it or are not one fewer than tops; without points, a size that tops do not divide.
    Source: Caffe's Slice.
    """

    settings = "slice_param"
    tops = (1, None)
    aliases = True

    def setup(self) -> None:
        if self.p.HasField("axis") and self.p.HasField("slice_dim"):
            raise self.fail("give axis or slice_dim, not both", "slice_dim")
        self.field = "slice_dim" if self.p.HasField("slice_dim") else "axis"
        self.axis: int = getattr(self.p, self.field)
        self.points: tuple[int, ...] = tuple(self.p.slice_point)
        tops = len(self.proto.top)
        if self.points and len(self.points) != tops - 1:
            raise self.fail(f"{len(self.points)} slice_point for {tops} tops; give {tops - 1} or none", "slice_point")
        if any(a >= b for a, b in zip((0, *self.points), self.points, strict=False)):
            raise self.fail(f"slice_point {list(self.points)} must be above 0 and increase", "slice_point")

    def sizes(self, shape: Shape) -> list[int]:
        """The tops' sizes along the axis."""
        size, tops = shape[canonical_axis(self, self.axis, shape, self.field)], len(self.proto.top)
        if tops > size:
            raise self.fail(f"{tops} tops for {size} values along axis {self.axis} of {list(shape)}", "slice_point")
        if self.points:
            if self.points[-1] > size:
                raise self.fail(
                    f"slice_point {self.points[-1]} exceeds the {size} values of {list(shape)}", "slice_point"
                )
            return [b - a for a, b in zip((0, *self.points), (*self.points, size), strict=True)]
        if size % tops:
            raise self.fail(f"{tops} tops do not divide axis {self.axis} of {list(shape)} evenly", self.field)
        return [size // tops] * tops

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, axis = bottoms[0], self.axis
        sizes = self.sizes(shape)
        axis = canonical_axis(self, self.axis, shape, self.field)
        return [(*shape[:axis], n, *shape[axis + 1 :]) for n in sizes]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return list(bottoms[0].split(self.sizes(tuple(bottoms[0].shape)), self.axis))

    def coord_map(self) -> CoordMap | None:
        return IDENTITY if self.axis in (0, 1) else None
