"""TanH: the hyperbolic tangent."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class TanH(Elementwise):
    """y = tanh(x).

    Shapes: any -> the same.
    Source: Caffe's TanH.
    """

    settings = "tanh_param"
    reusable_top = False

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh_(x) if self.overwrite else torch.tanh(x)
