"""`.safetensors`: `<layer>.weight`, `<layer>.bias`, ... as `net.state_dict()` names them.

Metadata: `name`; `layers`, of all layers in order the name, the type and the names of the blobs, as JSON; and where
the net is known `net`, its prototxt, with `net_sha256`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from netspec import schema
from netspec.errors import Loc, SpecError
from netspec.spec import text
from netspec.weights import mapped
from netspec.weights.model import Model, StoredLayer, blob_name, completed, from_tensors, to_tensors

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": mapped.BFLOAT16, "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"}


def read(path: str | Path) -> Model:
    """The tensors as layers, as views of the file, with the net if the file has it. Half precisions become float32."""
    loc = Loc(str(path))
    with mapped.opened(path, "safetensors file") as data:
        try:
            with safe_open(str(path), framework="numpy") as file:  # checks the header, sizes and places in it
                metadata = file.metadata() or {}
            tensors = dict(_tensors(data))
        except (SafetensorError, OSError, ValueError, TypeError) as e:
            raise SpecError(f"not a safetensors file, or a damaged one: {e}", loc) from None
    model = from_tensors(tensors, _layers(metadata), metadata.get("name", ""))
    model.net = _net(metadata, str(path))
    return model


def _tensors(data: mapped.Map) -> Iterator[tuple[str, np.ndarray]]:
    """The values by name, in the order they lie in."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"'{name}' holds {entry['dtype']}, not numbers that netspec reads")
        values = mapped.view(data, start + entry["data_offsets"][0], tuple(entry["shape"]), DTYPES[entry["dtype"]])
        yield name, mapped.float32(values)


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
    tensors = to_tensors(model)
    with open(path, "wb") as file:
        file.write(_header(tensors, metadata))
        for value in tensors.values():
            mapped.write(file, value)


def _header(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """What comes before the values: its length in eight bytes, then JSON that says where each tensor lies.

    The package's own writer wants a copy of all values in memory first.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + 4 * value.size]}
        at += 4 * value.size
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def _bare(net: Any) -> Any:
    """The net without blobs."""
    if not any(len(layer.blobs) for layer in net.layer):
        return net
    out = schema.new("NetParameter")
    out.CopyFrom(net)
    for layer in out.layer:
        layer.ClearField("blobs")
    return out
