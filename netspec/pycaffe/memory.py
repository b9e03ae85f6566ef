"""Memory: values that numpy arrays of a script and the net share, on a GPU copied lazily both ways."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class Memory:
    """`count` float32 values, made when first looked at.

    1. On the CPU an array and the net's tensor are the same memory, as long as anybody holds the array.
    2. On a GPU an array is a copy, made when asked for; the net takes it back before it next reads the values.
    """

    def __init__(self, count: int, value: float = 0.0) -> None:
        self.count = count
        self._value = value
        self._tensor: Tensor | None = None
        self._host: Tensor | None = None
        self._handed_out = False
        self._view: weakref.ref[np.ndarray] | None = None
        self.pending: Callable[[], None] | None = None
        """Makes the values, which are not there yet."""
        self.shared = False
        """Another blob's values lie in the same memory: new values must not be copied over them."""

    def get(self) -> Tensor:
        """The flat values where they lie."""
        if self.pending is not None:
            self.pending()
        if self._tensor is None:
            self._tensor = torch.full((self.count,), self._value)
        return self._tensor

    def tensor(self, device: torch.device) -> Tensor:
        """The flat values for the net to read, with what was written into the array."""
        values = self.get()
        if self._handed_out and self._host is not None:
            values.copy_(self._host)
            self._handed_out = False
        if values.device != device:
            values = values.to(device)
            self._replace(values)
        return values

    def array(self) -> np.ndarray:
        """The flat values as an array; what is written into it reaches the net."""
        held = self.held()
        values = self.get()
        host = values if on_host(values) else self._fetch(values)
        if held is not None and held.ctypes.data == host.data_ptr():
            return held
        array = host.numpy()
        self._view = weakref.ref(array)
        return array

    def _fetch(self, values: Tensor) -> Tensor:
        """The host's copy, up to date; from now on it is the newer one."""
        if self._host is None or self._host.numel() != values.numel():
            self._host, self._handed_out = torch.empty(values.shape), False
        if not self._handed_out:
            self._host.copy_(values)
        self._handed_out = True
        return self._host

    def held(self) -> np.ndarray | None:
        """The array, while a script holds it or a part of it."""
        return self._view() if self._view else None

    def overlaps(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in this memory."""
        mine = self._tensor
        return mine is not None and mine.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()

    def set(self, values: Tensor) -> None:
        """Takes new values, flat and contiguous: into the memory a script holds, else by taking theirs."""
        self._handed_out, self.pending = False, None
        mine = self._tensor
        if mine is not None and mine.data_ptr() == values.data_ptr() and mine.device == values.device:
            return
        held = self.held() is not None and mine is not None and on_host(mine) and not self.shared
        if held and mine is not None and mine.numel() == values.numel():
            mine.copy_(values)
        else:
            self._replace(values)

    def _replace(self, values: Tensor) -> None:
        self._tensor = values
        self.count = values.numel()

    def forget(self) -> None:
        """What lies on the device is newer than what was written into the array."""
        self._handed_out = False

    def free(self) -> None:
        """Lets go of values nobody holds."""
        if self.held() is None:
            self._tensor, self._handed_out, self.shared, self.pending = None, False, False, None


def on_host(tensor: Tensor) -> bool:
    """Whether an array can lie where the tensor does."""
    return tensor.is_cpu
