"""Flatten: several axes into one."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, canonical_axis, count
from netspec.layers.view import View


class Flatten(View):
    """top = bottom with axes axis..end_axis as one.

    Shapes: n0 x ... -> n0 x ... x (n_axis · ... · n_end_axis) x ...
    Errors: an axis outside the bottom, end_axis more than one before axis, use in place.
    Source: Caffe's Flatten. Caffe's top shares the bottom's memory; here a later change in place of the top never
        shows in the bottom.
    """

    settings = "flatten_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        start = canonical_axis(self, self.p.axis, shape)
        end = canonical_axis(self, self.p.end_axis, shape, "end_axis") + 1
        if end < start:
            raise self.fail(f"end_axis {self.p.end_axis} comes before axis {self.p.axis}", "end_axis")
        return [(*shape[:start], count(shape, start, end), *shape[end:])]
