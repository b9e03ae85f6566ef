"""Blobs that stand in a net or in a file of their own."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.layers.base import Context, Shape
from netspec.spec import binary


def blob_shape(blob: Any) -> Shape:
    """The shape of a BlobProto; without `shape`, the four older fields, of which those not given are 0."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    if any(blob.HasField(field) for field in ("num", "channels", "height", "width")):
        return (blob.num, blob.channels, blob.height, blob.width)
    return ()


def blob_values(blob: Any) -> np.ndarray:
    """The values of a BlobProto as float32, in its shape."""
    values = np.array(blob.double_data if blob.double_data else blob.data, dtype=np.float32)
    shape = blob_shape(blob)
    if min(shape, default=0) < 0 or prod(shape) != values.size:
        raise SpecError(f"a blob of shape {list(shape)} holds {values.size} values")
    return values.reshape(shape)


def read_blob(source: str, context: Context) -> np.ndarray:
    """The blob in a binary file; a relative path starts at the data root, the net's folder, or the current one."""
    path = find_file(source, context)
    blob = binary.read(path, "BlobProto").message
    try:
        return blob_values(blob)
    except SpecError as e:
        raise e.at(Loc(str(path))) from None


def find_file(source: str, context: Context) -> Path:
    """Where a file named in a net lies."""
    starts = [start for start in (context.data_root, context.folder) if start is not None]
    places = [*(start / source for start in starts), Path(source)]
    for place in places:
        if place.is_file():
            return place
    raise SpecError(f"no file '{source}' (looked for {', '.join(dict.fromkeys(map(str, places)))})")
