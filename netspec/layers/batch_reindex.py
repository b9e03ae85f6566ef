"""BatchReindex: rows picked by index."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.layers.indices import indices
from netspec.lazytorch import torch


class BatchReindex(Layer):
    """top[i] = bottom0[bottom1[i]]: rows along axis 0, repeated or left out.

    Shapes: N x rest, M -> M x rest.
    Errors: a second bottom of other than one axis, an index outside the rows, a gradient to the indices.
    Source: Caffe's BatchReindex; a row picked twice gets the sum of both gradients.
    """

    bottoms = (2, 2)
    reusable_top = True
    refuses = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        rows, index = bottoms
        if len(index) != 1:
            raise self.fail(f"bottom 1 holds indices and must have one axis, not {list(index)}")
        if not rows:
            raise self.fail("bottom 0 has no axes; at least one is wanted")
        return [(index[0], *rows[1:])]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rows, index = bottoms
        return [rows.index_select(0, indices(self, index, rows.shape[0], "index"))]

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0

    def coord_map(self) -> CoordMap:
        return IDENTITY
