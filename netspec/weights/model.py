"""What a weight file holds, whatever its format: layers in order, each with its parameter blobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import Loc, SpecError

Shape = tuple[int, ...]


@dataclass
class StoredLayer:
    """A layer as stored. `blobs` are float32, perhaps read-only views of the file.

    A blob is None where the layer shares it and the file keeps it under its owner only (HDF5). `legacy`: the shapes
    came as num, channels, height, width, so leading ones may stand for axes that the layer does not have. `names`:
    what the layer calls its blobs, in formats that name them; weight, bias, blob2, ... where it says nothing.
    """

    name: str
    type: str = ""
    blobs: list[np.ndarray | None] = field(default_factory=list)
    diffs: list[np.ndarray | None] = field(default_factory=list)
    legacy: bool = False
    names: list[str] = field(default_factory=list)


@dataclass
class Model:
    """The layers of a file; `net` is the NetParameter stored with them, in today's form and without blobs."""

    name: str = ""
    layers: list[StoredLayer] = field(default_factory=list)
    net: Any = None

    def blobs(self) -> dict[str, list[np.ndarray | None]]:
        """Parameter blobs by layer name; of two layers of one name the later counts, as in Caffe."""
        return {layer.name: layer.blobs for layer in self.layers if layer.blobs}


def blob_name(index: int) -> str:
    """weight, bias, blob2, blob3, ..."""
    return ("weight", "bias")[index] if index < 2 else f"blob{index}"


def blob_index(name: str) -> int | None:
    """The reverse of `blob_name`; a bare number counts too."""
    if name in ("weight", "bias"):
        return ("weight", "bias").index(name)
    digits = name.removeprefix("blob")
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 4 else None


def completed(model: Model, net: Any, path: str | Path) -> Model:
    """The model with every shared blob under each of its layers, as the net's param names tell.

    Errors: a blob that the file kept under its owner only, and no net to tell the owner.
    """
    params = {layer.name: layer.param for layer in (net.layer if net is not None else ())}
    owners: dict[str, np.ndarray] = {}
    layers = []
    for layer in model.layers:
        blobs = list(layer.blobs)
        for i, param in enumerate(params.get(layer.name, ())[: len(blobs)]):
            blob = blobs[i]
            if param.name and blob is None:
                blobs[i] = owners.get(param.name)
            elif param.name and blob is not None:
                owners.setdefault(param.name, blob)
        for i, blob in enumerate(blobs):
            if blob is None:
                where = "is stored under the layer it is shared with: give the net too"
                raise SpecError(f"layer '{layer.name}': blob {i} {where}", Loc(str(path)))
        layers.append(replace(layer, blobs=blobs))
    return replace(model, layers=layers)


def to_tensors(model: Model) -> dict[str, np.ndarray]:
    """`<layer>.<blob name>` -> values."""
    named = {layer.name: layer.names for layer in model.layers if layer.blobs}
    return {
        f"{layer}.{named[layer][i] if i < len(named[layer]) else blob_name(i)}": blob
        for layer, blobs in model.blobs().items()
        for i, blob in enumerate(blobs)
        if blob is not None
    }


def from_tensors(tensors: Mapping[str, np.ndarray], layers: Sequence[StoredLayer] = (), name: str = "") -> Model:
    """The reverse of `to_tensors`; `layers` say what is known from elsewhere: order, types, names of blobs.

    Without names, weight is blob 0, bias 1, blobN or N is N; where a layer has other names, or none for blob 0 (the
    Bias layer has a bias only), its blobs count in the order of the file.
    """
    found = {layer.name: layer for layer in layers}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in tensors.items():
        owner, _, last = key.rpartition(".")
        parts.setdefault(owner or key, {})[last if owner else "weight"] = value
    for owner, blobs in parts.items():
        layer = found.setdefault(owner, StoredLayer(owner))
        layer.names, layer.blobs = _ordered(layer.names, blobs)
        layer.diffs = [None] * len(layer.blobs)
    return Model(name, list(found.values()))


def _ordered(names: list[str], blobs: dict[str, np.ndarray]) -> tuple[list[str], list[np.ndarray | None]]:
    """Names and blobs in the order of the known names, else of the numbers in the names, else as they came."""
    if names and set(names) == set(blobs):
        return names, [blobs[n] for n in names]
    numbers = {blob_index(n): n for n in blobs}
    if None in numbers or 0 not in numbers:
        return list(blobs), list(blobs.values())
    indices = [i for i in numbers if i is not None]
    return [], [blobs[numbers[i]] if i in numbers else None for i in range(max(indices) + 1)]
