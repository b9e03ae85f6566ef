"""Arrays that are views of files: reading takes no memory of its own, whatever the size.

Pages of a map that were touched count as the process's memory until they are given back. `pieces` walks an array some
megabytes at a time and gives back what lies behind it, so that copying a file of any size takes a few megabytes.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from netspec.errors import Loc, SpecError

PIECE = 1 << 20
"""Values in one piece."""
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
"""The upper half of a float32, which numpy has no type for."""

FOREIGN = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (its name should end in .h5)",
    b"PK\x03\x04": "a zip archive (.npz or .pt?)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"\x1f\x8b": "gzip-compressed",
}


class Malformed(Exception):
    """The bytes are no message; says what and where."""


class Map(mmap.mmap):
    """A read-only map of a file that stays open beside it as `fd`."""

    fd: int


@contextmanager
def opened(path: str | Path, what: str) -> Iterator[Map]:
    """A file as a map, which arrays made of it keep alive; whatever is wrong with it is a SpecError."""
    loc, data = Loc(str(path)), mapping(path, what)
    for magic, name in FOREIGN.items():
        if data[: len(magic)] == magic:
            raise SpecError(f"not a {what}: it is {name}", loc)
    try:
        yield data
    except Malformed as e:
        raise SpecError(f"not a {what}, or a damaged one: {e}", loc) from None


def mapping(path: str | Path, what: str) -> Map:
    """A file as a map. Errors: no such file, an empty one."""
    try:
        with open(path, "rb") as file:
            if not file.seek(0, 2):
                raise SpecError(f"not a {what}: the file is empty", Loc(str(path)))
            data = Map(file.fileno(), 0, access=mmap.ACCESS_READ)
            data.fd = os.dup(file.fileno())
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror or e}", Loc(str(path))) from None
    weakref.finalize(data, os.close, data.fd)
    return data


def view(data: mmap.mmap, offset: int, shape: tuple[int, ...], dtype: str | type | np.dtype = "<f4") -> np.ndarray:
    """The values at a place of a map, read-only. ValueError: they do not fit in it."""
    count = int(np.prod(shape, dtype=object))
    if offset < 0 or count * np.dtype(dtype).itemsize > len(data) - offset:
        raise ValueError(f"values of shape {shape} at byte {offset} do not fit in {len(data)} bytes")
    return np.frombuffer(data, dtype, count, offset).reshape(shape) if count else np.empty(shape, dtype)


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """The values in order as flat runs of little-endian float32; each is let go when the next one is asked for."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, PIECE):
        part = flat[start : start + PIECE]
        yield np.ascontiguousarray(part, "<f4")
        release(part)


def write(file: BinaryIO, array: np.ndarray) -> None:
    """Writes the values as little-endian float32; what lies in a map as it is wanted, the system copies."""
    data = source(array)
    if data is None or not array.flags.c_contiguous or array.dtype != np.dtype("<f4") or not hasattr(os, "sendfile"):
        for piece in pieces(array):
            file.write(piece.data)
        return
    file.flush()
    start = address(array) - address(np.frombuffer(data, np.uint8))
    end = start + array.nbytes
    while start < end:
        start += os.sendfile(file.fileno(), data.fd, start, end - start)


def float32(array: np.ndarray) -> np.ndarray:
    """The array itself if it has float32 values, else a copy that has."""
    if array.dtype == np.dtype("<f4"):
        return array
    flat = array.reshape(-1)
    if array.dtype == BFLOAT16:
        return (flat["bfloat16"].astype("<u4") << 16).view("<f4").reshape(array.shape)
    return copied(flat, np.float32).reshape(array.shape)


def copied(array: np.ndarray, dtype: str | type) -> np.ndarray:
    """A copy with values of a type, made piece by piece along the first axis."""
    out = np.empty(array.shape, dtype)
    for start in range(0, len(array), PIECE):
        part = array[start : start + PIECE]
        out[start : start + PIECE] = part
        release(part)
    return out


def release(array: np.ndarray) -> None:
    """Gives back the pages that a view of a map has touched; they are read again when they are wanted again."""
    data = source(array)
    if data is None or not array.size or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = address(array) - address(np.frombuffer(data, np.uint8))
    extent = array.itemsize + sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    data.madvise(mmap.MADV_DONTNEED, first, start + extent - first)


def address(array: np.ndarray) -> int:
    """Where the first value lies in memory."""
    return array.__array_interface__["data"][0]


def source(array: np.ndarray) -> Map | None:
    """The map that an array is a view of."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, Map) else None
