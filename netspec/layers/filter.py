"""Filter: the rows that a selector keeps."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Filter(Layer):
    """top_k = the rows of bottom_k where the selector, the last bottom, is not 0.

    Shapes: N x rest each, selector N (x 1 ...) -> M x rest each. M depends on the values; the shape rule says N.
    Errors: another number of rows than the selector's, a selector of more than one value per row, another number of
        tops than of bottoms but the selector, a gradient to the selector.
    Source: Caffe's Filter; rows left out get gradient 0.
    """

    bottoms = (2, None)
    tops = (1, None)
    reusable_top = True
    refuses = True

    def setup(self) -> None:
        bottoms, tops = len(self.proto.bottom), len(self.proto.top)
        if tops != bottoms - 1:
            raise self.fail(
                f"has {counted(tops, 'top')} for {counted(bottoms - 1, 'bottom')} and a selector; it takes as many",
                "top",
            )

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        *blobs, selector = bottoms
        if not selector or any(n != 1 for n in selector[1:]):
            raise self.fail(f"the selector {list(selector)} must hold one value per row")
        for shape in blobs:
            if shape[:1] != selector[:1]:
                raise self.fail(f"bottom {list(shape)} and the selector {list(selector)} differ in rows")
        return blobs

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        *blobs, selector = bottoms
        kept = selector.detach().flatten().nonzero().squeeze(1)
        return [blob.index_select(0, kept) for blob in blobs]

    def gradient_to(self, bottom: int) -> bool:
        return bottom < len(self.proto.bottom) - 1

    def coord_map(self) -> CoordMap:
        return IDENTITY
