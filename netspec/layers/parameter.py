"""Parameter: a learned blob."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.lazytorch import torch


class Parameter(Layer):
    """top = the parameter blob.

    Shapes: no bottom -> `shape`; without one, a single value of no axes.
    Blobs: value (`shape`), zeros.
    Source: Caffe's Parameter, whose backward writes over the blob's gradient instead of adding to it.
    """

    settings = "parameter_param"
    bottoms = (0, 0)
    aliases = True
    replaces_diff = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [tuple(self.p.shape.dim)]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        return [ParamBlob("value", tuple(self.p.shape.dim))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [params[0].view_as(params[0])]
