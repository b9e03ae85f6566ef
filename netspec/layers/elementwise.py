"""Layers that compute each value from the one in its place."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Elementwise(Layer, abstract=True):
    """top = apply(bottom): one bottom, one top of its shape, places unchanged."""

    reusable_top = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.apply(bottoms[0])]

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """The top of one bottom."""
        raise NotImplementedError

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return True
