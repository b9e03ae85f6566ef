"""Blob: data and diff as numpy arrays that share memory with the net."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor, nn


class Blob:
    """A named value of a net: `data` and `diff` of one shape, allocated when first looked at."""

    def __init__(self, shape: Sequence[int], diff_value: float = 0.0) -> None:
        self._shape = tuple(shape)
        self._data: Tensor | None = None
        self._diff: Tensor | None = None
        self._diff_value = diff_value

    @property
    def data(self) -> np.ndarray:
        """The values; writing into the array writes into the net."""
        return self.tensor().numpy()

    @property
    def diff(self) -> np.ndarray:
        """The gradient; a loss blob's holds its loss weight before backward."""
        return self.gradient().numpy()

    def tensor(self) -> Tensor:
        """The values as a tensor, without history."""
        if self._data is None:
            self._data = torch.zeros(self._shape)
        return self._data

    def gradient(self) -> Tensor:
        """The gradient as a tensor."""
        if self._diff is None:
            self._diff = torch.full(self._shape, self._diff_value)
        return self._diff

    def set(self, value: Tensor) -> None:
        """Takes new values, of a new shape perhaps, as a layer's forward does."""
        value = value.detach()
        self._resize(tuple(value.shape))
        self._data = value if value.dtype == torch.float32 and value.is_contiguous() else value.float().contiguous()

    def set_gradient(self, value: Tensor | None) -> None:
        """Takes a gradient; None is zero."""
        self._diff = torch.zeros(self._shape) if value is None else value.detach().float().contiguous()

    def reshape(self, *shape: int) -> None:
        """A new shape; values are kept where their number is the same."""
        if self._data is not None and self._data.numel() == prod(shape):
            self._data = self._data.reshape(shape)
        self._resize(tuple(int(n) for n in shape))

    def _resize(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        self._shape = shape
        if self._data is not None and tuple(self._data.shape) != shape:
            self._data = None
        self._diff = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return prod(self._shape)

    def _legacy(self, axis: int) -> int:
        return self._shape[axis] if axis < len(self._shape) else 1

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)


class ParamBlob(Blob):
    """A parameter blob: a view of the net's own parameter and of its gradient."""

    def __init__(self, parameter: nn.Parameter, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.parameter = parameter

    def tensor(self) -> Tensor:
        return self.parameter.detach().view(self._shape)

    def gradient(self) -> Tensor:
        if self.parameter.grad is None:
            self.parameter.grad = torch.zeros_like(self.parameter)
        return self.parameter.grad.view(self._shape)

    def set(self, value: Tensor) -> None:
        self.tensor().copy_(value)

    def reshape(self, *shape: int) -> None:
        """As Caffe's: a parameter takes another shape of as many values, or new zeros."""
        if prod(shape) != self.count:
            self.parameter.data = torch.zeros(shape)
            self.parameter.grad = None
        self._shape = tuple(int(n) for n in shape)
