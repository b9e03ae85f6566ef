"""Swish: a value weighted by its own sigmoid."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import F, torch


class Swish(Elementwise):
    """y = x · sigmoid(beta · x).

    Shapes: any -> the same.
    Source: Caffe's Swish (Ramachandran et al. 2017).
    """

    settings = "swish_param"

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        beta = self.p.beta
        return F.silu(x) if beta == 1 else x * torch.sigmoid(beta * x)
