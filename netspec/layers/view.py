"""Layers that give the same values another shape."""

from __future__ import annotations

from netspec.layers.base import Layer
from netspec.lazytorch import torch


class View(Layer, abstract=True):
    """top = the bottom's values in the shape that the shape rule gives; never in place."""

    aliases = True

    def setup(self) -> None:
        if list(self.proto.top) == list(self.proto.bottom):
            raise self.fail(f"changes '{self.proto.top[0]}' in place; give its top another name", "top")

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [bottoms[0].reshape(self.shapes([tuple(bottoms[0].shape)])[0])]
