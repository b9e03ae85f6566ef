"""`.safetensors`: `<layer>.weight`, `<layer>.bias`, ... as `net.state_dict()` names them.

Metadata: `name`; `layers`, of all layers in order the name, the type and the names of the blobs, as JSON; and where
the net is known `net`, its prototxt, with `net_sha256`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from netspec import schema
from netspec.errors import Loc, SpecError
from netspec.spec import text
from netspec.spec.binary import replacing
from netspec.weights.model import Model, StoredLayer, blob_name, completed, from_tensors, to_tensors


def read(path: str | Path) -> Model:
    """The tensors as layers, with the net if the file has it. Half precisions become float32."""
    loc = Loc(str(path))
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror or e}", loc) from None
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            halves = [k for k in file.keys() if file.get_slice(k).get_dtype() == "BF16"]  # noqa: SIM118
            tensors = {k: _float32(file.get_tensor(k)) for k in file.keys() if k not in halves}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as e:
        raise SpecError(f"not a safetensors file, or a damaged one: {e}", loc) from None
    model = from_tensors(tensors | _bfloat16(path, halves), _layers(metadata), metadata.get("name", ""))
    model.net = _net(metadata, str(path))
    return model


def _float32(value: np.ndarray) -> np.ndarray:
    if value.dtype.kind not in "fiu":
        raise ValueError(f"it holds {value.dtype}, not numbers")
    return np.asarray(value, np.float32)


def _bfloat16(path: str | Path, names: list[str]) -> dict[str, np.ndarray]:
    """numpy has no bfloat16: torch widens it."""
    if not names:
        return {}
    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(name).float().numpy() for name in names}


def _layers(metadata: dict[str, str]) -> list[StoredLayer]:
    """The layers as written here, or nothing if another program wrote something else there."""
    try:
        known = [
            (str(name), str(type), [str(b) for b in blobs]) for name, type, blobs in json.loads(metadata["layers"])
        ]
    except (KeyError, ValueError, TypeError):
        return []
    return [StoredLayer(name, type, names=blobs) for name, type, blobs in known]


def _net(metadata: dict[str, str], file: str) -> Any:
    try:
        return text.parse(metadata["net"], file).message if "net" in metadata else None
    except SpecError:
        return None


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes the blobs and the metadata."""
    net = model.net if net is None else net
    model = completed(model, net, path)
    layers = [[s.name, s.type, [*s.names, *map(blob_name, range(len(s.names), len(s.blobs)))]] for s in model.layers]
    metadata = {"format": "pt", "name": model.name, "layers": json.dumps(layers)}
    if net is not None:
        metadata["net"] = text.dump(_bare(net))
        metadata["net_sha256"] = hashlib.sha256(metadata["net"].encode("utf-8", "surrogateescape")).hexdigest()
    tensors = {k: np.ascontiguousarray(v, np.float32).reshape(v.shape) for k, v in to_tensors(model).items()}
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), metadata)


def _bare(net: Any) -> Any:
    """The net without blobs."""
    if not any(len(layer.blobs) for layer in net.layer):
        return net
    out = schema.new("NetParameter")
    out.CopyFrom(net)
    for layer in out.layer:
        layer.ClearField("blobs")
    return out
