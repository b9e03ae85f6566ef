"""Sigmoid: the logistic function."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(−x)).

    Shapes: any -> the same.
    Source: Caffe's Sigmoid.
    """

    settings = "sigmoid_param"
    reusable_top = False

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid_(x) if self.overwrite else torch.sigmoid(x)
