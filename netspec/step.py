"""Step: one layer of a net with everything a run needs of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netspec.errors import LayerError
from netspec.ir.graph import LayerSpec
from netspec.layers import Layer
from netspec.layers.base import Shape
from netspec.passes.bind import blame
from netspec.passes.infer_shapes import check_size

REMEMBERED = 1000
"""Combinations of shapes that a step remembers to fit."""


class LayerBlobs(nn.Module):
    """The parameter blobs of one layer, under the names the layer gives them."""

    def blobs(self) -> list[nn.Parameter]:
        return [p for p in self._parameters.values() if p is not None]


@dataclass
class Step:
    """One layer with everything the run needs of it."""

    spec: LayerSpec
    layer: Layer
    blobs: LayerBlobs | None
    shapes: tuple[Shape, ...]
    """The declared shapes of its parameter blobs; a permissively shared one is stored in another."""
    gradient: tuple[bool, ...]
    """Which bottoms take a gradient."""
    learns: tuple[bool, ...]
    """Which parameter blobs take a gradient from this layer; a sharer may learn what another only reads."""
    checked: set[tuple[Shape, ...]] = field(default_factory=set)
    packed: list[Any] | None = None
    """In a frozen net, what stands for the parameter blobs."""
    folded: bool = False
    """In a frozen net, whether an earlier layer does this one's work too."""
    widens: bool = False
    """In a net frozen to bf16, whether the parameter blobs are float32 still, and so the bottoms have to be."""

    def params(self) -> list[Tensor]:
        """The blobs as this layer sees them."""
        if self.packed is not None:
            return self.packed
        if self.blobs is None:
            return []
        blobs = self.blobs.blobs()
        shaped = [p if p.shape == shape else p.view(shape) for p, shape in zip(blobs, self.shapes, strict=True)]
        if not torch.is_grad_enabled():
            return shaped
        return [
            p if learns or not p.requires_grad else p.detach() for p, learns in zip(shaped, self.learns, strict=True)
        ]

    def blob_names(self) -> list[str]:
        """What the layer calls its blobs."""
        return list(self.blobs._parameters) if self.blobs else []

    def check(self, key: tuple[Shape, ...]) -> None:
        """Applies the shape rule, once per combination of shapes; parameter blobs must fit the new shapes too."""
        if key in self.checked:
            return
        with blame(self.spec):
            for top, shape in zip(self.spec.tops, self.layer.shapes(key), strict=True):
                check_size(self.spec, top, shape)
            wanted = tuple(p.shape for p in self.layer.params(key)) if self.blobs else ()
            for have, want in zip(self.shapes, wanted, strict=True):
                if have != want:
                    raise LayerError(
                        f"bottom {list(key[0])} wants a parameter blob of {list(want)}, the net's is {list(have)}"
                    )
        if len(self.checked) >= REMEMBERED:
            self.checked.clear()
        self.checked.add(key)

    def run(self, bottoms: list[Tensor]) -> list[Tensor]:
        """The layer's tops; bottoms that take no gradient are cut off."""
        self.check(tuple([b.shape for b in bottoms]))
        if torch.is_grad_enabled():
            bottoms = [
                b if g or not b.requires_grad else b.detach() for b, g in zip(bottoms, self.gradient, strict=True)
            ]
        with blame(self.spec):
            return self.forward(bottoms)

    def forward(self, bottoms: list[Tensor]) -> list[Tensor]:
        """What the layer makes of bottoms that are known to fit."""
        if self.folded:
            return bottoms
        return self.layer.forward([self.widened(b) for b in bottoms] if self.widens else bottoms, self.params())

    def widened(self, bottom: Tensor) -> Tensor:
        """The bottom in the number type of the blobs."""
        return bottom.float() if self.widens and bottom.dtype == torch.bfloat16 else bottom
