"""Blobs whose values are whole numbers: rows of a table, classes."""

from __future__ import annotations

from netspec.layers.base import Layer
from netspec.lazytorch import torch


def indices(layer: Layer, values: torch.Tensor, end: int, what: str) -> torch.Tensor:
    """The values as integers (cut, not rounded), of the same shape; refused outside 0..end - 1."""
    whole = values.detach().long()
    if whole.numel():
        low, high = (int(v) for v in whole.aminmax())
        if low < 0 or high >= end:
            raise layer.fail(f"{what} {low if low < 0 else high} is outside 0..{end - 1}")
    return whole
