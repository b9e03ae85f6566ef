"""ArgMax: where the greatest values stand."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis, count
from netspec.lazytorch import torch


class ArgMax(Layer):
    """top = the places of the top_k greatest values along `axis`, greatest first; of equal values the later one first.

    With out_max_val and an axis, the values stand in for the places. Without an axis, everything after axis 0 is one
    row, and out_max_val puts the values beside the places.

    Shapes: with an axis, the bottom's with top_k there; without, N x 1 x top_k (N x 2 x top_k with out_max_val), then
        ones up to the bottom's number of axes.
    Errors: top_k of 0 or above the number of values, an axis outside the bottom, a gradient that would flow through.
    Source: Caffe's ArgMax, which has no backward.
    """

    settings = "argmax_param"
    reusable_top = True
    refuses = True

    def setup(self) -> None:
        if self.p.top_k < 1:
            raise self.fail("top_k must be at least 1", "top_k")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, top_k = bottoms[0], self.p.top_k
        if self.p.HasField("axis"):
            axis = canonical_axis(self, self.p.axis, shape)
            self.check_top_k(shape[axis])
            return [(*shape[:axis], top_k, *shape[axis + 1 :])]
        if not shape:
            raise self.fail("the bottom has no axes; at least one is wanted")
        self.check_top_k(count(shape, 1))
        return [(shape[0], 2 if self.p.out_max_val else 1, top_k, *(1,) * (len(shape) - 3))]

    def check_top_k(self, values: int) -> None:
        if self.p.top_k > values:
            raise self.fail(f"top_k {self.p.top_k} exceeds the {values} values there are", "top_k")

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0].detach()
        if self.p.HasField("axis"):
            values, places = greatest(x, self.p.axis, self.p.top_k)
            return [values if self.p.out_max_val else places.to(x.dtype)]
        values, places = greatest(x.reshape(len(x), -1), 1, self.p.top_k)
        rows = [places.to(x.dtype), values] if self.p.out_max_val else [places.to(x.dtype)]
        return [torch.stack(rows, 1).reshape(self.shapes([tuple(x.shape)])[0])]

    def gradient_to(self, bottom: int) -> bool:
        return False

    def coord_map(self) -> CoordMap | None:
        return IDENTITY if self.p.HasField("axis") and self.p.axis in (0, 1) else None


def greatest(x: torch.Tensor, axis: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k greatest values along an axis and their places. Turned round, so that the first of equals is the last."""
    turned, last = x.flip(axis), x.shape[axis] - 1
    if k == 1:
        places = turned.argmax(axis, keepdim=True)
    else:
        places = turned.sort(dim=axis, descending=True, stable=True).indices.narrow(axis, 0, k)
    return turned.gather(axis, places), last - places
