"""`.pt`, `.pth`: a plain state_dict, `<layer>.weight`, `<layer>.bias`, ...; nothing in it is run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.lazytorch import torch
from netspec.spec.binary import replacing
from netspec.weights import mapped
from netspec.weights.model import Model, completed, from_tensors, to_tensors
from netspec.weights.zipped import check_zip


def read(path: str | Path) -> Model:
    """The tensors of a state_dict, or of the one under `state_dict` or `model` in a checkpoint, as layers."""
    loc = Loc(str(path))
    content = _load(path, loc)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(k, str) for k in content):
        raise SpecError(f"not a state_dict: it holds a {type(content).__name__}", loc)
    wrong = [k for k, v in content.items() if not isinstance(v, torch.Tensor)]
    if wrong:
        raise SpecError(f"not a state_dict: '{wrong[0]}' is a {type(content[wrong[0]]).__name__}, not a tensor", loc)
    return from_tensors({k: v.detach().to(torch.float32).contiguous().numpy() for k, v in content.items()})


def _load(path: str | Path, loc: Loc) -> Any:
    """Loads tensors only: a pickle that asks for any other code is refused."""
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            check_zip(path)
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped)
    except SpecError:
        raise
    except FileNotFoundError:
        raise SpecError("cannot read: No such file or directory", loc) from None
    except pickle.UnpicklingError:
        raise SpecError("it holds more than tensors, or is damaged: code in a pickle is not run", loc) from None
    except Exception as e:  # torch.load lets through whatever a damaged pickle makes its readers raise
        first = str(e).strip().split("\n")[0]
        raise SpecError(f"not a file of torch, or a damaged one: {first or type(e).__name__}", loc) from None


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes a state_dict."""
    arrays = to_tensors(completed(model, model.net if net is None else net, path))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        output: Any = _Output(file, list(arrays.values()))
        torch.save({k: tensor(v) for k, v in arrays.items()}, output)


def tensor(array: np.ndarray, dtype: Any = np.float32) -> Any:
    """A tensor of the same memory, to be read only: of that, torch warns."""
    values = np.ascontiguousarray(array, dtype).reshape(array.shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(values)


class _Output:
    """A file for torch to write to, which lets go of pages of maps as soon as they are written."""

    def __init__(self, file: BinaryIO, arrays: list[np.ndarray]) -> None:
        self.file, self.arrays = file, arrays

    def write(self, data: memoryview) -> None:
        for start in range(0, len(data), 4 * mapped.PIECE):
            self.file.write(data[start : start + 4 * mapped.PIECE])
            for array in self.arrays:
                mapped.release(array)

    def flush(self) -> None:
        self.file.flush()
