"""`.npz`: an archive of one array per parameter blob, `<layer>.weight`, `<layer>.bias`; `<layer>.0` is read too."""

from __future__ import annotations

import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.spec.binary import replacing
from netspec.weights.model import Model, completed, from_tensors, to_tensors
from netspec.weights.zipped import check_zip


def read(path: str | Path) -> Model:
    """The arrays as layers. Errors: no archive, objects in it (they could run code), sizes that lie."""
    check_zip(path)
    tensors = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    tensors[member.filename.removesuffix(".npy")] = array(file, member.file_size)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as e:
        raise SpecError(f"not an archive of arrays, or a damaged one: {e}", Loc(str(path))) from None
    return from_tensors(tensors)


def array(file: IO[bytes], size: int) -> np.ndarray:
    """One .npy stream of a known size as float32; its header may not announce more than the size."""
    major = np.lib.format.read_magic(file)[0]
    if major not in (1, 2):
        raise ValueError(f"arrays of version {major} are not known")
    reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}, not numbers")
    count = prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"an array of shape {shape} does not fit its {size} bytes")
    raw = file.read(count * dtype.itemsize)
    values = np.frombuffer(raw, dtype, count).reshape(shape, order="F" if fortran else "C")
    return np.asarray(values, np.float32)


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes every blob as an uncompressed array."""
    tensors = to_tensors(completed(model, model.net if net is None else net, path))
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for name, value in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(value, np.float32), allow_pickle=False)
