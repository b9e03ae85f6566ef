"""Blob: data and diff as numpy arrays that share memory with the net."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.utils.weak import TensorWeakRef

from netspec.pycaffe.memory import Memory
from netspec.step import Step

CPU = torch.device("cpu")


class Blob:
    """A named value of a net: `data` and `diff` of one shape, allocated when first looked at."""

    def __init__(self, shape: Sequence[int], diff_value: float = 0.0) -> None:
        self._shape = tuple(int(n) for n in shape)
        self._diff_value = diff_value
        self._data = Memory(self.count)
        self._diff = Memory(self.count, diff_value)

    @property
    def data(self) -> np.ndarray:
        """The values; writing into the array writes into the net."""
        return self._data.array().reshape(self._shape)

    @property
    def diff(self) -> np.ndarray:
        """The gradient; a loss blob's holds its loss weight before backward."""
        return self._diff.array().reshape(self._shape)

    def tensor(self, device: torch.device = CPU) -> Tensor:
        """The values as a tensor, without history."""
        return self._data.tensor(device).view(self._shape)

    def gradient(self, device: torch.device = CPU) -> Tensor:
        """The gradient as a tensor."""
        return self._diff.tensor(device).view(self._shape)

    def set(self, value: Tensor) -> None:
        """Takes new values, of a new shape perhaps, as a layer's forward does."""
        self._resize(tuple(value.shape))
        self._data.set(flat(value))

    def take(self, value: Tensor) -> None:
        """Lies from now on where a tensor lies; arrays handed out before stay behind."""
        self._resize(tuple(value.shape))
        self._data = Memory(self.count)
        self._data.set(flat(value))

    def set_gradient(self, value: Tensor | None) -> None:
        """Takes a gradient; None is zero."""
        self._diff.set(torch.zeros(self.count) if value is None else flat(value))

    def free(self) -> None:
        """Lets go of data nobody holds."""
        self._data.free()

    def reshape(self, *shape: int) -> None:
        """A new shape; values are kept where their number is the same."""
        self._resize(tuple(int(n) for n in (shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape)))

    def _resize(self, shape: tuple[int, ...]) -> None:
        if min(shape, default=0) < 0:
            raise ValueError(f"a blob cannot have the shape {list(shape)}")
        self._shape = shape
        if self.count != self._data.count:
            self._data = Memory(self.count)
        if self.count != self._diff.count:
            self._diff = Memory(self.count, self._diff_value)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return prod(self._shape)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise ValueError(f"num, channels, height, width are of blobs of up to 4 axes, not {len(self._shape)}")
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


def flat(value: Tensor) -> Tensor:
    """The values in a row, without history: the same memory where it is float32 and contiguous."""
    return value.detach().to(torch.float32).reshape(-1)


class _Values(Memory):
    """A parameter's values, wherever the net keeps them now."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__(parameter.numel())
        self._parameter = TensorWeakRef(parameter)
        self._lent = False
        self.watchers: weakref.WeakSet[Any] = weakref.WeakSet()
        """Whoever has to `leave()` before anybody else gets at the values."""

    @property
    def parameter(self) -> nn.Parameter:
        found: Any = self._parameter()
        return found

    def get(self) -> Tensor:
        return self.parameter.detach().view(-1)

    def array(self) -> np.ndarray:
        for one in list(self.watchers):
            one.leave()
        self._lent = True
        return super().array()

    def tensor(self, device: torch.device) -> Tensor:
        self.sync()
        return self.get()

    def sync(self) -> None:
        """Brings what was written into the array to the net; its version tells that it may have changed."""
        if self._handed_out and self._host is not None:
            self.get().copy_(self._host)
        if self._lent:
            increment_version(self.parameter)
        self._handed_out, self._lent = False, self.held() is not None

    def set(self, values: Tensor) -> None:
        self._handed_out = False
        self.get().copy_(values)


class _Gradient(_Values):
    """A parameter's gradient; zeros until there is one. A new one makes what was written into an older one past."""

    _of: TensorWeakRef | None = None

    def get(self) -> Tensor:
        parameter = self.parameter
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if self._of is None or self._of() is not parameter.grad:
            self._handed_out = False
            self._of = TensorWeakRef(parameter.grad)
        return parameter.grad.view(-1)

    def sync(self) -> None:
        if self.parameter.grad is not None:
            self.get()
            super().sync()
        self._handed_out = False


class ParamBlob(Blob):
    """A parameter blob: the net's own parameter and its gradient, by any shape of as many values.

    The arrays belong to the parameter, so that nets which share it see the same.
    """

    def __init__(self, step: Step, index: int) -> None:
        self.step, self.index = step, index
        self._shape = tuple(step.shapes[index])

    @property
    def parameter(self) -> nn.Parameter:
        blobs: Any = self.step.blobs
        return blobs.blobs()[self.index]

    @property
    def _data(self) -> _Values:
        return memories(self.parameter)[0]

    @property
    def _diff(self) -> _Gradient:
        return memories(self.parameter)[1]

    def sync(self) -> None:
        """Brings what a script wrote into the arrays to the net."""
        self._data.sync()
        self._diff.sync()

    def clear_diff(self) -> None:
        """The gradient is zero, where there is one."""
        if self.parameter.grad is not None:
            self._diff.forget()
            self.parameter.grad.zero_()

    def forget_array(self) -> None:
        """The net has new values; what a script wrote before is past."""
        self._data.forget()

    def _resize(self, shape: tuple[int, ...]) -> None:
        """Another shape of as many values, or new zeros."""
        if prod(shape) != self.count:
            self.parameter.data = torch.zeros(shape, device=self.parameter.device)
            self.parameter.grad = None
        self._shape = shape


def memories(parameter: nn.Parameter) -> tuple[_Values, _Gradient]:
    """The arrays of a parameter's values and gradient."""
    known = vars(parameter)
    if "pycaffe" not in known:
        known["pycaffe"] = (_Values(parameter), _Gradient(parameter))
    return known["pycaffe"]
