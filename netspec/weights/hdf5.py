"""`.caffemodel.h5`: group `data`, in it a group per layer, in it a dataset per parameter blob: `data/conv1/0`.

`diff` holds the gradients alike, where they were saved. A blob that layers share is stored under its owner only.
Files written here also note each layer's type and position as attributes, which Caffe does not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from netspec.errors import Loc, SpecError
from netspec.weights import mapped
from netspec.weights.model import Model, StoredLayer
from netspec.weights.zipped import check_size

MAX_ITEMS = 50_000
MAX_BLOBS = 1024


def read(path: str | Path) -> Model:
    """The layers of a file, in the order they were written in if the file tells, else by name.

    Errors: no HDF5 file, a damaged one, links out of it, values that are no numbers, sizes that lie.
    """
    with opened(path, "caffemodel in HDF5") as file:
        data = mapped.mapping(path, "caffemodel in HDF5")
        diffs = group(file, "diff") if "diff" in file else None
        layers = list(_layers(data, group(file, "data"), diffs))
        layers.sort(key=lambda item: item[0])
        return Model(_attribute(file, "name", ""), [layer for _, layer in layers])


def _layers(file: mapped.Map, data: h5py.Group, diffs: h5py.Group | None) -> Iterator[tuple[int, StoredLayer]]:
    """Every group with datasets, and every empty one: a layer; names with slashes are groups in groups."""
    open_groups = [("", data)]
    for count, (name, found) in enumerate(_walk(open_groups)):
        if count > MAX_ITEMS:
            raise SpecError(f"more than {MAX_ITEMS} groups", Loc(data.file.filename))
        names = members(found)
        blobs = [m for m in names if m.isdecimal() and _hard(found, m) and isinstance(found[m], h5py.Dataset)]
        if name and (blobs or not names or "type" in found.attrs):
            diff = _inside(diffs, name)
            layer = StoredLayer(name, _attribute(found, "type", ""), _numbered(file, found, blobs), [])
            layer.diffs = [_diff(file, diff, str(i)) for i in range(len(layer.blobs))]
            yield int(_attribute(found, "index", 0)), layer


def _walk(groups: list[tuple[str, h5py.Group]]) -> Iterator[tuple[str, h5py.Group]]:
    seen = set()
    while groups:
        name, found = groups.pop(0)
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:
            raise SpecError(f"group '{name}' is inside itself", Loc(found.file.filename))
        seen.add(address)
        yield name, found
        for member in members(found):
            inner = found[member] if _hard(found, member) else None
            if isinstance(inner, h5py.Group):
                groups.append((f"{name}/{member}".lstrip("/"), inner))


def _numbered(file: mapped.Map, found: h5py.Group, names: list[str]) -> list[np.ndarray | None]:
    """Datasets by number; a gap is a blob stored under the layer that shares it."""
    indices = [int(n) for n in names if len(n) < 5]
    if len(indices) < len(names) or max(indices, default=0) >= MAX_BLOBS:
        raise SpecError(f"layer '{found.name}' has a blob beyond {MAX_BLOBS}", Loc(found.file.filename))
    return [array(file, found, str(i)) if i in indices else None for i in range(max(indices, default=-1) + 1)]


def _inside(diffs: h5py.Group | None, name: str) -> h5py.Group | None:
    for part in name.split("/"):
        if diffs is None or part not in diffs:
            return None
        diffs = group(diffs, part)
    return diffs


def _diff(file: mapped.Map, found: h5py.Group | None, name: str) -> np.ndarray | None:
    return array(file, found, name) if found is not None and name in found else None


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes the model in Caffe's layout; with a net (or `model.net`), shared blobs under their owner only."""
    net = model.net if net is None else net
    layers = _owned(model, net)
    with created(path) as file:
        file.attrs["name"] = _fixed(model.name)
        data = file.create_group("data")
        diffs = file.create_group("diff") if any(d is not None for s in layers for d in s.diffs) else None
        for index, layer in enumerate(layers):
            here = _new_group(data, layer.name, path)
            here.attrs["type"], here.attrs["index"] = _fixed(layer.type), index
            _write_blobs(here, layer.blobs)
            if diffs is not None:
                _write_blobs(_new_group(diffs, layer.name, path), layer.diffs)


def _owned(model: Model, net: Any) -> list[StoredLayer]:
    """The layers without the blobs that an earlier layer has under the same param name."""
    params = {layer.name: list(layer.param) for layer in (net.layer if net is not None else ())}
    owners: dict[str, tuple[str, int]] = {}
    out = []
    for layer in model.layers:
        blobs = list(layer.blobs)
        for i, param in enumerate(params.get(layer.name, [])[: len(blobs)]):
            if param.name and owners.setdefault(param.name, (layer.name, i)) != (layer.name, i):
                blobs[i] = None
        out.append(replace(layer, blobs=blobs))
    return out


def _new_group(parent: h5py.Group, name: str, path: str | Path) -> h5py.Group:
    parts = name.split("/")
    if "" in parts or "." in parts:
        raise SpecError(f"layer name '{name}' cannot be an HDF5 path", Loc(str(path)))
    for part in parts:
        if isinstance(parent.get(part), h5py.Dataset):
            raise SpecError(f"two layers or blobs want the HDF5 path '{name}'", Loc(str(path)))
        parent = parent.require_group(part)
    if "type" in parent.attrs:
        raise SpecError(f"two layers are named '{name}': HDF5 holds one", Loc(str(path)))
    return parent


def _write_blobs(here: h5py.Group, blobs: list[np.ndarray | None]) -> None:
    for i, blob in enumerate(blobs):
        if blob is not None:
            write_array(here, str(i), blob)


def write_array(parent: h5py.Group, name: str, values: np.ndarray) -> None:
    """A dataset of float32 values, written some rows at a time."""
    found = parent.create_dataset(name, values.shape, "<f4")
    if not values.ndim or not values.size:
        found[...] = values
        return
    count = max(1, mapped.PIECE * len(values) // values.size)
    for start in range(0, len(values), count):
        found[start : start + count] = values[start : start + count]
        mapped.release(values[start : start + count])


@contextmanager
def opened(path: str | Path, what: str) -> Iterator[h5py.File]:
    """An HDF5 file for reading; whatever is wrong with it is a SpecError."""
    loc = Loc(str(path))
    try:
        with open(path, "rb") as head:
            head.read(1)
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror or e}", loc) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except SpecError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as e:
        first = str(e).split("\n")[0]
        raise SpecError(f"not a {what}, or a damaged one: {first}", loc) from None


@contextmanager
def created(path: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file, in the oldest layout: the one Caffe's library reads."""
    with h5py.File(path, "w", libver=("earliest", "v108")) as file:
        yield file


def _hard(parent: h5py.Group, name: str) -> bool:
    """Whether a member lies in the file itself; links to other places and files are not followed."""
    return isinstance(parent.get(name, getlink=True), h5py.HardLink)


def _member(parent: h5py.Group, name: str, kind: type) -> Any:
    path = f"{parent.name}/{name}".replace("//", "/")
    if name not in parent:
        raise SpecError(f"it has no '{path}'", Loc(parent.file.filename))
    if not _hard(parent, name):
        raise SpecError(f"'{path}' is a link, which is not followed", Loc(parent.file.filename))
    found = parent[name]
    if not isinstance(found, kind):
        raise SpecError(f"'{path}' is no {kind.__name__.lower()}", Loc(parent.file.filename))
    return found


def members(parent: h5py.Group) -> list[str]:
    """The names in a group."""
    return [str(name) for name in parent]


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group of a group."""
    return _member(parent, name, h5py.Group)


def _dataset(parent: h5py.Group, name: str, kinds: str) -> h5py.Dataset:
    """A dataset whose values lie in the file, and no fewer of them than it says."""
    found = _member(parent, name, h5py.Dataset)
    loc = Loc(parent.file.filename)
    if found.is_virtual or found.external:
        raise SpecError(f"the values of '{found.name}' lie in another file", loc)
    if found.dtype.kind not in kinds or found.shape is None:
        raise SpecError(f"'{found.name}' holds {found.dtype}, not what is wanted there", loc)
    check_size(found.name, found.nbytes, found.id.get_storage_size(), loc)
    return found


def array(file: mapped.Map, parent: h5py.Group, name: str) -> np.ndarray:
    """A dataset of numbers as float32: a view of the file where they lie in it as they are."""
    found = _dataset(parent, name, "fiu")
    plain = found.chunks is None and found.size and not parent.file.userblock_size
    offset = found.id.get_offset() if plain else None
    if offset is None:
        return np.asarray(found[()], np.float32)
    return mapped.float32(mapped.view(file, offset, found.shape, found.dtype))


def integer(parent: h5py.Group, name: str) -> int:
    """A dataset of one whole number."""
    values = np.atleast_1d(_dataset(parent, name, "iu")[()]).ravel()
    if values.size != 1 or not 0 <= int(values[0]) < 2**31:
        raise SpecError(f"'{name}' is not one count", Loc(parent.file.filename))
    return int(values[0])


def text(parent: h5py.Group, name: str) -> str:
    """A dataset of one string of fixed length."""
    value = _dataset(parent, name, "S")[()]
    if not isinstance(value, bytes):
        raise SpecError(f"'{name}' is not one string", Loc(parent.file.filename))
    return value.decode("utf-8", "replace")


def write_text(parent: h5py.Group, name: str, value: str) -> None:
    """A dataset of one string that ends in a zero, as C programs store it."""
    raw = _fixed(value)
    kind, space = h5py.h5t.C_S1.copy(), h5py.h5s.create(h5py.h5s.SCALAR)
    kind.set_size(raw.itemsize)
    h5py.h5d.create(parent.id, name.encode(), kind, space).write(space, space, raw, kind)


def _attribute(found: h5py.Group, name: str, default: Any) -> Any:
    """An attribute of the default's type, or the default; a string only of fixed length."""
    if name not in found.attrs or found.attrs.get_id(name).dtype.kind not in "iS":
        return default
    value = found.attrs[name]
    if isinstance(default, int):
        return int(value) if isinstance(value, np.integer) else default
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else default


def _fixed(value: str) -> np.ndarray:
    """A string of fixed length with its closing zero: of variable length, a damaged one can hang the library."""
    raw = value.encode("utf-8", "surrogateescape") + b"\0"
    return np.array(raw, f"S{len(raw)}")
