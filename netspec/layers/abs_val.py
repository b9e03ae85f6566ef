"""AbsVal: the absolute value."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class AbsVal(Elementwise):
    """y = |x|.

    Shapes: any -> the same.
    Source: Caffe's AbsVal; at 0 the gradient is 0.
    """

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs()
