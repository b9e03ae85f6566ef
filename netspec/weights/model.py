"""What a weight file holds, whatever its format: layers in order, each with its parameter blobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass
class StoredLayer:
    """A layer as stored. `blobs` are float32, perhaps read-only views of the file.

    A blob is None where the layer shares it and the file keeps it under its owner only (HDF5). `legacy`: the shapes
    came as num, channels, height, width, so leading ones may stand for axes that the layer does not have.
    """

    name: str
    type: str = ""
    blobs: list[np.ndarray | None] = field(default_factory=list)
    diffs: list[np.ndarray | None] = field(default_factory=list)
    legacy: bool = False


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


def to_tensors(model: Model) -> dict[str, np.ndarray]:
    """`<layer>.<blob name>` -> values; a shared blob stands under its owner only."""
    return {
        f"{layer}.{blob_name(i)}": blob
        for layer, blobs in model.blobs().items()
        for i, blob in enumerate(blobs)
        if blob is not None
    }


def from_tensors(tensors: Mapping[str, np.ndarray], layers: Sequence[tuple[str, str]] = (), name: str = "") -> Model:
    """The reverse of `to_tensors`; `layers` are the names and types known from elsewhere, in order.

    A blob name of a layer's own (`running_mean`) takes the next free index of its layer.
    """
    found = {layer: StoredLayer(layer, type) for layer, type in layers}
    for key, value in tensors.items():
        owner, _, last = key.rpartition(".")
        layer = found.setdefault(owner or key, StoredLayer(owner or key))
        index = blob_index(last) if owner else 0
        index = len(layer.blobs) if index is None else index
        layer.blobs += [None] * (index + 1 - len(layer.blobs))
        layer.blobs[index] = value
    for layer in found.values():
        layer.diffs = [None] * len(layer.blobs)
    return Model(name, list(found.values()))
