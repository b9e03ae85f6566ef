"""What the loss layers share."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape, count
from netspec.lazytorch import torch

LEAST_PROBABILITY = 1e-20
"""Smaller probabilities count as this one, so that a logarithm stays finite."""


class Loss(Layer, abstract=True):
    """A scalar from predictions (bottom 0) and targets (bottom 1), which take no gradient."""

    bottoms = (2, 2)
    loss = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        return [()]

    def same_batch(self, bottoms: Sequence[Shape]) -> None:
        """Refuses bottoms 0 and 1 of different first axes, or without any."""
        first, second = bottoms[:2]
        if not first or first[:1] != second[:1]:
            raise self.fail(f"bottoms {list(first)} and {list(second)} differ in the first axis")

    def one_per_row(self, bottoms: Sequence[Shape], label: int) -> None:
        """Refuses a bottom of other than one value per row of bottom 0."""
        if count(bottoms[label]) != bottoms[0][0]:
            raise self.fail(f"bottom {label} {list(bottoms[label])} must hold one label per row, {bottoms[0][0]}")

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0


def wide(x: torch.Tensor) -> torch.Tensor:
    """Single precision at least, for sums over many values."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def with_gradient_of(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`value`, whose gradient is that of `other`."""
    return value.detach() + (other - other.detach())
