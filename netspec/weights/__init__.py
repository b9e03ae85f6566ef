"""Weight files: one function to read any known format, one to write it; the suffix of the name decides."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from netspec.errors import Loc, SpecError, suggestion
from netspec.spec.binary import replacing
from netspec.weights.model import Model, StoredLayer

__all__ = ["FORMATS", "Model", "StoredLayer", "read", "suffix", "write"]

# Longer suffixes first: the first that a name ends in decides.
FORMATS = {
    ".caffemodel.h5": "hdf5",
    ".caffemodel": "caffemodel",
    ".safetensors": "safetensors",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".pth": "torchfile",
    ".pt": "torchfile",
    ".npz": "npz",
}


def suffix(path: str | Path) -> str:
    """The known suffix a name ends in; an unknown one is an error that names those known."""
    name = Path(path).name.lower()
    for known in FORMATS:
        if name.endswith(known):
            return known
    end = Path(name).suffix
    near = suggestion(end, FORMATS) if end else ""
    message = f"unknown suffix '{end}' of a weight file{near} (known: {' '.join(FORMATS)})"
    raise SpecError(message, Loc(str(path)))


def form(path: str | Path) -> ModuleType:
    """The module of the format that a name ends in: `read(path)` and `write(path, model, net)`."""
    return import_module(f"netspec.weights.{FORMATS[suffix(path)]}")


def read(path: str | Path) -> Model:
    """The layers of a weight file with their parameter blobs."""
    return form(path).read(path)


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes the model; `net`, a NetParameter, gives wiring and settings to the formats that keep them.

    What fails leaves the file that was there.
    """
    write_form = form(path).write
    with replacing(path) as temporary:
        write_form(temporary, model, net)
