"""Tile: copies side by side."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


class Tile(Layer):
    """top = `tiles` copies of the bottom, one after the other along `axis`.

    Shapes: any -> the same with tiles times the size along the axis.
    Errors: tiles missing or below 1, an axis outside the bottom.
    Source: Caffe's Tile.
    """

    settings = "tile_param"
    reusable_top = True

    def setup(self) -> None:
        if not self.p.HasField("tiles"):
            raise self.fail("tiles is missing", "tiles")
        if self.p.tiles < 1:
            raise self.fail(f"tiles {self.p.tiles} must be at least 1", "tiles")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, axis = bottoms[0], canonical_axis(self, self.p.axis, bottoms[0])
        return [(*shape[:axis], self.p.tiles * shape[axis], *shape[axis + 1 :])]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        repeats = [1] * bottoms[0].ndim
        repeats[self.p.axis] = self.p.tiles
        return [bottoms[0].repeat(repeats)]

    def coord_map(self) -> CoordMap | None:
        return IDENTITY if self.p.axis in (0, 1) else None
