"""The wire format of protocol buffers over a memory map: fields without messages, arrays without Python floats.

A message is a run of fields: a varint `number << 3 | kind`, then a varint (kind 0), 8 bytes (1), a varint length and
that many bytes (2), or 4 bytes (5). Every length is checked against what encloses it before anything is made of it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

import numpy as np

from netspec.weights import mapped
from netspec.weights.mapped import Malformed

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
# Numbers of BlobProto's fields.
LEGACY, DATA, DIFF, SHAPE, DOUBLE_DATA, DOUBLE_DIFF = (1, 2, 3, 4), 5, 6, 7, 8, 9
MAX_AXES = 32
MAX_PIECES = 1024
Buffer = mmap.mmap | bytes


@dataclass(frozen=True)
class Field:
    """One field: its bytes with the tag are `start:stop`, its contents `value:stop`, or the number `value` itself."""

    number: int
    kind: int
    value: int
    start: int
    stop: int


def varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    """The number at a position and the position after it."""
    value = shift = 0
    while at < stop:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed(f"a number of more than ten bytes at byte {at - 10}")
    raise Malformed(f"cut short at byte {stop}")


def field_at(data: Buffer, start: int, stop: int) -> Field:
    """The field that begins at `start`, in a message that ends at `stop`."""
    tag, at = varint(data, start, stop)
    number, kind = tag >> 3, tag & 7
    value = at
    if kind == VARINT:
        value, at = varint(data, at, stop)
    elif kind == LENGTH:
        size, value = varint(data, at, stop)
        at = value + size
    elif kind in (FIXED64, FIXED32):
        at += 8 if kind == FIXED64 else 4
    if not number or kind not in (VARINT, FIXED64, LENGTH, FIXED32):
        raise Malformed(f"no field can begin with {tag} at byte {start}")
    if at > stop:
        raise Malformed(f"the field at byte {start} goes on to byte {at}, what holds it ends at byte {stop}")
    return Field(number, kind, value, start, at)


def fields(data: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message at `start:stop`, in order."""
    while start < stop:
        field = field_at(data, start, stop)
        yield field
        start = field.stop


def text(data: Buffer, field: Field) -> str:
    """A string field; bytes that are no UTF-8 are replaced."""
    return bytes(data[field.value : field.stop]).decode("utf-8", "replace")


def blob(data: Buffer, field: Field) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """A BlobProto: values, gradients if stored, whether its shape is the legacy one. Errors: sizes that disagree."""
    parts: dict[int, list[np.ndarray]] = {DATA: [], DIFF: [], DOUBLE_DATA: [], DOUBLE_DIFF: []}
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    at = field.value
    while at < field.stop:
        f = field_at(data, at, field.stop)
        at = f.stop
        if f.number in parts:
            values, at = _numbers(data, f, field.stop)
            parts[f.number].append(values)
            if len(parts[f.number]) > MAX_PIECES:
                raise Malformed(f"the values of the blob at byte {field.start} lie in more than {MAX_PIECES} pieces")
        elif f.number in LEGACY and f.kind == VARINT:
            legacy[f.number] = _signed(f.value)
        elif f.number == SHAPE and f.kind == LENGTH:
            shape = (shape or []) + _dims(data, f)
    if legacy:
        shape = [legacy.get(n, 0) for n in LEGACY]
    values = _joined(parts[DOUBLE_DATA] or parts[DATA])
    diff = _joined(parts[DOUBLE_DIFF] or parts[DIFF])
    return _shaped(values, shape, field), _shaped(diff, shape, field) if diff.size else None, bool(legacy)


def _dims(data: Buffer, field: Field) -> list[int]:
    """The axes of a BlobShape, packed or one by one."""
    dims = []
    for f in fields(data, field.value, field.stop):
        at = f.value
        if f.number == 1 and f.kind == VARINT:
            dims.append(_signed(f.value))
        while f.number == 1 and f.kind == LENGTH and at < f.stop and len(dims) <= MAX_AXES:
            value, at = varint(data, at, f.stop)
            dims.append(_signed(value))
        if len(dims) > MAX_AXES:
            raise Malformed(f"a blob of more than {MAX_AXES} axes at byte {field.start}")
    return dims


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >> 63 else value


def _numbers(data: Buffer, field: Field, stop: int) -> tuple[np.ndarray, int]:
    """A packed field as a view, or a run of single values copied in one piece; and where it ends."""
    size = 8 if field.number in (DOUBLE_DATA, DOUBLE_DIFF) else 4
    dtype = f"<f{size}"
    if field.kind == LENGTH:
        if (field.stop - field.value) % size:
            raise Malformed(f"values at byte {field.value} are cut short")
        return np.frombuffer(data, dtype, (field.stop - field.value) // size, field.value), field.stop
    if field.kind != (FIXED64 if size == 8 else FIXED32):
        raise Malformed(f"values of an unknown kind at byte {field.start}")
    step = field.stop - field.start
    rows = np.frombuffer(data, np.uint8, (stop - field.start) // step * step, field.start).reshape(-1, step)
    count = _run(rows[:, : step - size])
    values = mapped.copied(rows[:count, step - size :], np.uint8).view(dtype).reshape(-1)
    return values, field.start + count * step


def _run(tags: np.ndarray) -> int:
    """How many rows from the first on equal the first, looking not much further than that."""
    count, window = 1, 64
    while count < len(tags):
        rows = tags[count : count + window]
        same = (rows == tags[0]).all(axis=1)
        mapped.release(rows)
        if not same.all():
            return count + int(same.argmin())
        count += len(same)
        window = min(2 * window, mapped.PIECE)
    return count


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    values = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.float32)
    return mapped.float32(values)


def _shaped(values: np.ndarray, shape: list[int] | None, field: Field) -> np.ndarray:
    """No shape stands for a single value (zero axes), or else for one axis."""
    if shape is None:
        shape = [] if values.size == 1 else [values.size]
    if min(shape, default=0) < 0 or prod(shape) != values.size:
        shown = " x ".join(map(str, shape))
        raise Malformed(f"the blob at byte {field.start} has shape {shown} but {values.size} values")
    return values.reshape(shape)


def encode_varint(value: int) -> bytes:
    """A number as a varint; a negative one takes ten bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tag(number: int, kind: int) -> bytes:
    """The bytes that begin a field."""
    return encode_varint(number << 3 | kind)


def head(number: int, size: int) -> bytes:
    """The bytes that begin a field of so many bytes."""
    return tag(number, LENGTH) + encode_varint(size)


def string(number: int, value: str) -> bytes:
    """A string field."""
    raw = value.encode("utf-8", "surrogateescape")
    return head(number, len(raw)) + raw


def integer(number: int, value: int) -> bytes:
    """A varint field."""
    return tag(number, VARINT) + encode_varint(value)


class BlobWriter:
    """One BlobProto as Caffe lays it out; its size is known before its values are touched."""

    def __init__(self, values: np.ndarray, diff: np.ndarray | None = None, legacy: bool = False) -> None:
        self.arrays = [(DATA, values)] + ([] if diff is None else [(DIFF, diff)])
        self.arrays = [(number, array) for number, array in self.arrays if array.size]
        dims = b"".join(map(encode_varint, values.shape))
        self.before = self.after = b""
        if legacy and values.ndim == 4:
            self.before = b"".join(integer(n, d) for n, d in zip(LEGACY, values.shape, strict=True))
        elif dims:
            packed = head(1, len(dims)) + dims
            self.after = head(SHAPE, len(packed)) + packed
        self.heads = [head(number, 4 * array.size) for number, array in self.arrays]
        bodies = sum(len(head) + 4 * array.size for head, (_, array) in zip(self.heads, self.arrays, strict=True))
        self.size = len(self.before) + bodies + len(self.after)

    def write(self, file: BinaryIO) -> None:
        """Writes the message, without tag and length."""
        file.write(self.before)
        for head, (_, array) in zip(self.heads, self.arrays, strict=True):
            file.write(head)
            mapped.write(file, array)
        file.write(self.after)


def write_field(file: BinaryIO, number: int, writer: BlobWriter) -> None:
    """A BlobProto as a field of the message being written."""
    file.write(head(number, writer.size))
    writer.write(file)


def field_size(number: int, writer: BlobWriter) -> int:
    """Bytes that `write_field` writes."""
    return len(head(number, writer.size)) + writer.size
