"""Threshold: a test of every value."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Threshold(Elementwise):
    """y = 1 where x > threshold, else 0.

    Shapes: any -> the same.
    Errors: a gradient that would flow through it.
    Source: Caffe's Threshold, which has no backward.
    """

    settings = "threshold_param"
    refuses = True

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return (x > self.p.threshold).to(x.dtype)

    def gradient_to(self, bottom: int) -> bool:
        return False
