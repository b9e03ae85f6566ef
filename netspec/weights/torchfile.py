"""`.pt`, `.pth`: a plain state_dict, `<layer>.weight`, `<layer>.bias`, ...; nothing in it is run.

torch.save makes a zip archive of a pickle, `data.pkl`, and the values of its tensors, uncompressed. It is written here,
and read where it holds plain tensors, without torch, whose import takes longer than copying hundreds of megabytes.
Whatever else there is, torch reads.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.lazytorch import torch
from netspec.weights import mapped, torchpickle
from netspec.weights.model import Model, completed, from_tensors, to_tensors
from netspec.weights.torchpickle import Tensor
from netspec.weights.zipped import begin, check_size, check_zip, store

ALIGN = 64
"""Bytes whose multiples values begin at, as torch has it."""


def read(path: str | Path) -> Model:
    """The tensors of a state_dict, or of the one under `state_dict` or `model` in a checkpoint, as layers."""
    loc = Loc(str(path))
    content = _load(path, loc)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(k, str) for k in content):
        raise SpecError(f"not a state_dict: it holds a {type(content).__name__}", loc)
    return from_tensors({k: _array(k, v, loc) for k, v in content.items()})


def _array(name: str, value: Any, loc: Loc) -> np.ndarray:
    """The values of a tensor, whoever read it, as float32."""
    if isinstance(value, Tensor):
        check_size(name, 4 * value.size, value.flat.nbytes, loc)
        return mapped.float32(value.array())
    if not isinstance(value, torch.Tensor):
        raise SpecError(f"not a state_dict: '{name}' is a {type(value).__name__}, not a tensor", loc)
    return value.detach().to(torch.float32).contiguous().numpy()


def _load(path: str | Path, loc: Loc) -> Any:
    """The content, tensors in it as `Tensor` or torch's: a pickle that asks for any other code is refused."""
    try:
        if not zipfile.is_zipfile(path):
            return _by_torch(path, mmap=False)
        check_zip(path)
        try:
            return _plain(path)
        except (torchpickle.NotPlain, zipfile.BadZipFile):  # torch can leave checksums out
            return _by_torch(path, mmap=True)
    except SpecError:
        raise
    except FileNotFoundError:
        raise SpecError("cannot read: No such file or directory", loc) from None
    except pickle.UnpicklingError:
        raise SpecError("it holds more than tensors, or is damaged: code in a pickle is not run", loc) from None
    except Exception as e:  # torch.load lets through whatever a damaged pickle makes its readers raise
        first = str(e).strip().split("\n")[0]
        raise SpecError(f"not a file of torch, or a damaged one: {first or type(e).__name__}", loc) from None


def _by_torch(path: str | Path, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # of a damaged file, whose error follows
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap)


def _plain(path: str | Path) -> Any:
    """The content of an archive of plain tensors, which are views of the file."""
    data = mapped.mapping(path, "file of torch")
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.partition("/")[2]: m for m in archive.infolist()}
        texts = {name: archive.read(members[name]) for name in ("data.pkl", "byteorder") if name in members}
        if "data.pkl" not in texts or texts.get("byteorder", b"little") != b"little":
            raise torchpickle.NotPlain

        def storage(key: str, count: int, dtype: np.dtype) -> np.ndarray:
            member = members[f"data/{key}"]
            if member.compress_type != zipfile.ZIP_STORED or count * dtype.itemsize > member.file_size:
                raise ValueError(f"'{member.filename}' does not hold {count} values")
            return mapped.view(data, begin(data, member), (count,), dtype)

        return torchpickle.load(texts["data.pkl"], storage)


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes a state_dict as torch.save does."""
    arrays = to_tensors(completed(model, model.net if net is None else net, path))
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), torchpickle.dump({k: v.shape for k, v in arrays.items()}))
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), "little")
        for number, values in enumerate(arrays.values()):
            store(archive, f"archive/data/{number}", values, align=ALIGN)
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")
