"""Silence: a reader for blobs nobody else reads."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Silence(Layer):
    """Nothing is computed; the bottoms are no outputs of the net any more, and their gradient is 0.

    Shapes: any number of any -> no tops.
    Source: Caffe's Silence.
    """

    bottoms = (1, None)
    tops = (0, 0)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return []

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return []
