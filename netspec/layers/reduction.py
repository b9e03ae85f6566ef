"""Reduction: one number per row."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


class Reduction(Layer):
    """top = coeff · operation over all values from `axis` on: SUM Σ x, ASUM Σ |x|, SUMSQ Σ x², MEAN Σ x / count.

    Shapes: n0 x ... x n_axis x ... -> n0 x ... x n_(axis − 1); axis 0 gives a top without axes.
    Errors: an axis outside the bottom.
    Source: Caffe's Reduction; ASUM's gradient is 0 at 0.
    """

    settings = "reduction_param"
    reusable_top = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0][: canonical_axis(self, self.p.axis, bottoms[0])]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        operation = schema.enum_name(self.p, "operation")
        rows = bottoms[0].flatten(canonical_axis(self, self.p.axis, tuple(bottoms[0].shape)))
        rows = rows.abs() if operation == "ASUM" else rows.square() if operation == "SUMSQ" else rows
        return [(rows.mean(-1) if operation == "MEAN" else rows.sum(-1)) * self.p.coeff]
