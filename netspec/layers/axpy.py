"""Axpy: a · x + y with a factor per image and channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape, same_shape
from netspec.lazytorch import torch


class Axpy(Layer):
    """top[n, c] = a[n, c] · x[n, c] + y[n, c].

    Shapes: a (N x C, or N x C x 1 x 1), x and y (N x C x any) -> N x C x any.
    Errors: x and y of different shape; an a of other images or channels, or of more than one value for each.
    Source: SENet's Axpy (Hu et al. 2017).
    """

    bottoms = (3, 3)
    reusable_top = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        a, x = bottoms[:2]
        same_shape(self, bottoms, 1, 2)
        if len(x) < 2 or a[:2] != x[:2] or prod(a[2:]) != 1:
            raise self.fail(f"bottom 0 {list(a)} must hold one value per image and channel of bottom 1 {list(x)}")
        return [x]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        a, x, y = bottoms
        return [torch.addcmul(y, a.reshape(*a.shape[:2], *[1] * (x.ndim - 2)), x)]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0])
