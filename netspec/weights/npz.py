"""`.npz`: an archive of one array per parameter blob, `<layer>.weight`, `<layer>.bias`; `<layer>.0` is read too."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.weights import mapped
from netspec.weights.model import Model, completed, from_tensors, to_tensors
from netspec.weights.zipped import begin, check_zip, store


def read(path: str | Path) -> Model:
    """The arrays as layers; those not compressed as views of the file.

    Errors: no archive, objects in it (they could run code), sizes that lie.
    """
    check_zip(path)
    data, tensors = mapped.mapping(path, "archive of arrays"), {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                tensors[member.filename.removesuffix(".npy")] = _member(archive, member, data)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as e:
        raise SpecError(f"not an archive of arrays, or a damaged one: {e}", Loc(str(path))) from None
    return from_tensors(tensors)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, data: mapped.Map) -> np.ndarray:
    """One array of the archive."""
    with archive.open(member) as file:
        if member.compress_type != zipfile.ZIP_STORED:
            return array(file, member.file_size)
        shape, fortran, dtype = _header(file, member.file_size)
        position = file.tell()
    start = begin(data, member)
    if _checksum(mapped.view(data, start, (member.file_size,), np.uint8)) != member.CRC:
        raise ValueError(f"'{member.filename}' has another checksum")
    flat = mapped.view(data, start + position, (prod(shape),), dtype)
    return mapped.float32(flat).reshape(shape, order="F" if fortran else "C")


def _checksum(raw: np.ndarray) -> int:
    """The CRC-32 of bytes."""
    value = 0
    for at in range(0, raw.size, 4 * mapped.PIECE):
        part = raw[at : at + 4 * mapped.PIECE]
        value = zlib.crc32(part.data, value)
        mapped.release(part)
    return value


def array(file: IO[bytes], size: int) -> np.ndarray:
    """One .npy stream of a known size as float32."""
    shape, fortran, dtype = _header(file, size)
    raw = file.read(prod(shape) * dtype.itemsize)
    values = np.frombuffer(raw, dtype, prod(shape)).reshape(shape, order="F" if fortran else "C")
    return np.asarray(values, np.float32)


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis runs fastest, and type; they may not announce more than the size."""
    major = np.lib.format.read_magic(file)[0]
    if major not in (1, 2):
        raise ValueError(f"arrays of version {major} are not known")
    reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = reader(file)
    except Exception as e:  # numpy lets through whatever its tokenizer and its parser raise
        raise ValueError(f"its header is damaged: {str(e) or type(e).__name__}") from None
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}, not numbers")
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array of shape {shape} does not fit its {size} bytes")
    return shape, fortran, dtype


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes every blob as an uncompressed array."""
    tensors = to_tensors(completed(model, model.net if net is None else net, path))
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in tensors.items():
            head = BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": value.shape})
            store(archive, f"{name}.npy", value, head.getvalue())
