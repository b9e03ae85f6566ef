"""Softmax: scores to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import F, torch


class Softmax(Layer):
    """y_c = exp(x_c) / Σ_k exp(x_k) over the classes along `axis` (default 1).

    Shapes: any -> the same.
    Errors: an axis outside the bottom.
    Source: Caffe's Softmax; large scores do not overflow.
    """

    settings = "softmax_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        canonical_axis(self, self.p.axis, bottoms[0])
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [F.softmax(bottoms[0], self.p.axis)]

    def coord_map(self) -> CoordMap | None:
        return IDENTITY if self.p.axis in (0, 1) else None
