"""The pickle in torch.save's files of plain tensors, read and written without torch and without running anything.

A tensor is a call of `_rebuild_tensor_v2`: storage, offset, shape, strides, and two settings for gradients. A storage
is the persistent id ("storage", type, key, device, count); its values lie in the archive under the key.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any, ClassVar

import numpy as np

from netspec.weights.mapped import BFLOAT16

Shape = tuple[int, ...]
Storage = Callable[[str, int, np.dtype], np.ndarray]
"""The values of a storage, flat, by its key, their count and their type."""

DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1"}
DTYPES |= {"Byte": "u1", "Bool": "?"}
OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID, pickle.BUILD),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.EMPTY_LIST),
    *(pickle.APPEND, pickle.APPENDS, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
)
"""What torch.save writes; nothing in it takes more memory than the pickle has bytes."""


class NotPlain(Exception):
    """The pickle holds something else than plain tensors."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as strides over the values of its storage."""

    flat: np.ndarray
    offset: int
    shape: Shape
    strides: Shape

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __post_init__(self) -> None:
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0 or (self.size and last >= self.flat.size):
            raise ValueError(f"a tensor of shape {self.shape} goes beyond its {self.flat.size} values")

    def array(self) -> np.ndarray:
        """The values, a view where they lie one behind the other."""
        values = self.flat[self.offset :]
        if not self.size or self.strides == dense(self.shape):
            return values[: self.size].reshape(self.shape)
        strides = [s * self.flat.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides, writeable=False)


def dense(shape: Shape) -> Shape:
    """The strides of values that lie one behind the other."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def load(data: bytes, storage: Storage) -> Any:
    """What the pickle says, each tensor in it a `Tensor`. A damaged one raises whatever its damage leads to."""
    try:
        return _Reader(data, storage).load()
    except KeyError as e:
        raise NotPlain from e


def _tensor(flat: np.ndarray, offset: int, shape: Shape, strides: Shape, *_: Any) -> Tensor:
    return Tensor(flat, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _Reader(pickle._Unpickler):
    """An unpickler that knows the few things below; whatever else a pickle asks for is a KeyError."""

    names: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): dict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "BFloat16Storage"): BFLOAT16,
        **{("torch", f"{name}Storage"): np.dtype(kind) for name, kind in DTYPES.items()},
    }
    dispatch: ClassVar[dict[int, Any]] = {op[0]: pickle._Unpickler.dispatch[op[0]] for op in OPCODES}

    def __init__(self, data: bytes, storage: Storage) -> None:
        super().__init__(BytesIO(data))
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return self.names[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, count = pid
        return self.storage(key, count, dtype)

    def load_build(self) -> None:
        """What a state_dict says of its modules' versions is of no use here."""
        self.stack.pop()

    dispatch[pickle.BUILD[0]] = load_build


def dump(shapes: Mapping[str, Shape]) -> bytes:
    """The pickle of a dict of float32 tensors; the storage of each has its number as its key."""
    items = [_text(name) + _rebuilt(str(i), shape) for i, (name, shape) in enumerate(shapes.items())]
    return b"".join([pickle.PROTO, b"\2", pickle.EMPTY_DICT, pickle.MARK, *items, pickle.SETITEMS, pickle.STOP])


def _rebuilt(key: str, shape: Shape) -> bytes:
    """The call that makes one tensor of its whole storage."""
    pid = [_text("storage"), _name("torch", "FloatStorage"), _text(key), _text("cpu"), _number(prod(shape))]
    hooks = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    sizes = [_tuple(*map(_number, numbers)) for numbers in (shape, dense(shape))]
    args = [_tuple(*pid) + pickle.BINPERSID, _number(0), *sizes, pickle.NEWFALSE, hooks]
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(*args) + pickle.REDUCE


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(*parts: bytes) -> bytes:
    return b"".join([pickle.MARK, *parts, pickle.TUPLE])


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + len(raw).to_bytes(4, "little") + raw


def _number(value: int) -> bytes:
    """A pickle without its first two bytes, which tell the protocol, and its stop."""
    return pickle.dumps(value, 2)[2:-1]
