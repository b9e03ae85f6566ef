"""`.caffemodel`: a NetParameter in binary form whose layers hold their parameter blobs.

Read over a memory map: only name, type and blobs of a layer are trusted, for forks of Caffe use the same field
numbers for different things. V0, V1 and today's layers are read, today's are written.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError

from netspec import schema
from netspec.errors import Loc, SpecError
from netspec.spec.text import Document, Place
from netspec.spec.upgrade import V0_TYPES, V1_TYPES, upgrade_net
from netspec.weights import mapped, wire
from netspec.weights.mapped import Malformed
from netspec.weights.model import Model, StoredLayer, completed
from netspec.weights.wire import LENGTH, VARINT, BlobWriter, Field

log = logging.getLogger(__name__)

NAME, LAYERS, LAYER = 1, 2, 100
# Numbers of the fields name, type and blobs in the three forms of a layer; V1's field 1 is a V0 layer.
TODAY, V1, V0, V0_INSIDE = (1, 2, 7), (4, 5, 6), (1, 2, 50), 1
MAX_ITEMS = 50_000
MAX_NET = 1 << 26
PROTOBUF_LIMIT = 2**31 - 1


def read(path: str | Path) -> Model:
    """The layers of a file, blobs as views of it, so that reading takes no memory for them.

    Legacy four axes are cut to the axes that layers with known blobs have today: (1, 1, N, K) -> (N, K).
    Errors: no such file, not a caffemodel, cut short, sizes that disagree; each a SpecError.
    """
    with mapped.opened(path, "caffemodel") as data:
        name, layers, rest = "", [], []
        for f in wire.fields(data, 0, len(data)):
            if f.number == NAME and f.kind == LENGTH:
                name = wire.text(data, f)
            if f.number in (LAYER, LAYERS) and f.kind == LENGTH:
                layers.append(_layer(data, f, rest))
            else:
                rest.append(data[f.start : f.stop])
            if len(layers) > MAX_ITEMS:
                raise Malformed(f"more than {MAX_ITEMS} layers")
        if not layers:
            raise Malformed("it has no layers")
    return Model(name, layers, _net(b"".join(rest), str(path)))


def _layer(data: wire.Buffer, field: Field, rest: list[bytes]) -> StoredLayer:
    """One layer; its other fields are added to `rest`, as a layer without blobs."""
    layer, other = StoredLayer(""), []
    form = TODAY if field.number == LAYER else V1
    for f in wire.fields(data, field.value, field.stop):
        if form is V1 and f.number == V0_INSIDE and f.kind == LENGTH:
            inner = []
            for g in wire.fields(data, f.value, f.stop):
                _take(data, g, V0, layer, inner)
            other.append(_message(V0_INSIDE, inner))
        else:
            _take(data, f, form, layer, other)
    rest.append(_message(field.number, other))
    if layer.legacy:
        layer.blobs = [_today_axes(layer.type, i, blob) for i, blob in enumerate(layer.blobs)]
        layer.diffs = [_today_axes(layer.type, i, diff) for i, diff in enumerate(layer.diffs)]
        layer.legacy = layer.type not in ("Convolution", "Deconvolution", "InnerProduct")
    return layer


def _take(data: wire.Buffer, f: Field, form: tuple[int, ...], layer: StoredLayer, other: list[bytes]) -> None:
    """One field of a layer; all but blobs go to `other` too."""
    name, type, blobs = form
    if f.number == blobs and f.kind == LENGTH:
        values, diff, legacy = wire.blob(data, f)
        layer.blobs.append(values)
        layer.diffs.append(diff)
        layer.legacy = layer.legacy or legacy
        if len(layer.blobs) > 1024:
            raise Malformed(f"layer '{layer.name}' has more than 1024 blobs")
        return
    if f.number == name and f.kind == LENGTH:
        layer.name = wire.text(data, f)
    elif f.number == type and f.kind == LENGTH:
        layer.type = wire.text(data, f)
        layer.type = V0_TYPES.get(layer.type, layer.type) if form is V0 else layer.type
    elif f.number == type and f.kind == VARINT and form is V1:
        layer.type = _v1_type(f.value)
    other.append(data[f.start : f.stop])


def _v1_type(number: int) -> str:
    known = schema.message_class("V1LayerParameter").DESCRIPTOR.enum_types_by_name["LayerType"].values_by_number
    return V1_TYPES[known[number].name] if number in known else str(number)


def _today_axes(type: str, index: int, blob: np.ndarray | None) -> np.ndarray | None:
    """The axes today's Caffe gives a blob of old, if the leading ones allow it."""
    axes = {"InnerProduct": (2, 1), "Convolution": (4, 1), "Deconvolution": (4, 1)}.get(type, ())
    if blob is None or index >= len(axes) or blob.ndim != 4 or any(n != 1 for n in blob.shape[: 4 - axes[index]]):
        return blob
    return blob.reshape(blob.shape[4 - axes[index] :])


def _message(number: int, parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return wire.head(number, len(body)) + body


def _net(data: bytes, file: str) -> Any:
    """The net stored with the weights in today's form, or None: weights are of use without it."""
    net = schema.message_class("NetParameter")()
    if len(data) > MAX_NET:
        return None
    try:
        net.ParseFromString(data)
        return upgrade_net(Document(net, Place(Loc(file)))).message
    except (DecodeError, SpecError, UnicodeDecodeError) as e:
        log.info("%s: the net stored with the weights is not used: %s", file, e)
        return None


def write(path: str | Path, model: Model, net: Any = None) -> None:
    """Writes the model in the form and order of Caffe's own files, one blob at a time.

    `net` (or else `model.net`) gives order, wiring and settings; layers it does not have follow by name, type and
    blobs. Errors: a blob that HDF5 kept under its owner only, unless the net's param names tell the owner.
    """
    net = model.net if net is None else net
    document = Document(schema.new("NetParameter") if net is None else net, Place(Loc(str(path))))
    message = upgrade_net(document).message
    pairs = _paired(message, completed(model, message, path))
    with open(path, "wb") as file:
        _write_net(file, message, pairs, model.name)
        if file.tell() > PROTOBUF_LIMIT:
            log.warning("%s: larger than 2 GiB: netspec reads it, Caffe cannot", path)


def _paired(message: Any, model: Model) -> list[tuple[Any, StoredLayer]]:
    """Each layer's message with its blobs, by name and within a name by order; layers without a message last."""
    stored: dict[str, list[StoredLayer]] = {}
    for layer in model.layers:
        stored.setdefault(layer.name, []).append(layer)
    pairs = []
    for layer in message.layer:
        found = stored.get(layer.name)
        pairs.append((layer, found.pop(0) if found else StoredLayer(layer.name)))
    left = {id(layer) for layers in stored.values() for layer in layers}
    return pairs + [(schema.new("LayerParameter", name=s.name, type=s.type), s) for s in model.layers if id(s) in left]


def _write_net(file: BinaryIO, message: Any, pairs: list[tuple[Any, StoredLayer]], name: str) -> None:
    head = type(message)()
    head.CopyFrom(message)
    head.ClearField("layer")
    if name and not head.name:
        head.name = name
    before, after = _split_at(head.SerializeToString(deterministic=True), LAYER)
    file.write(before)
    for layer, stored in pairs:
        _write_layer(file, layer, stored)
    file.write(after)


def _write_layer(file: BinaryIO, layer: Any, stored: StoredLayer) -> None:
    """A layer's fields in the order of their numbers, as Caffe's own writer has them, the blobs among them."""
    if len(layer.blobs):
        bare = type(layer)()
        bare.CopyFrom(layer)
        bare.ClearField("blobs")
        layer = bare
    before, after = _split_at(layer.SerializeToString(deterministic=True), TODAY[2])
    diffs = [*stored.diffs, *[None] * len(stored.blobs)]
    writers = [BlobWriter(b, d, stored.legacy) for b, d in zip(stored.blobs, diffs, strict=False) if b is not None]
    size = len(before) + sum(wire.field_size(TODAY[2], w) for w in writers) + len(after)
    file.write(wire.head(LAYER, size) + before)
    for writer in writers:
        wire.write_field(file, TODAY[2], writer)
    file.write(after)


def _split_at(message: bytes, number: int) -> tuple[bytes, bytes]:
    """A message's fields below a number and from it on, each in the order of numbers."""
    found = sorted(wire.fields(message, 0, len(message)), key=lambda f: f.number)
    below = b"".join(message[f.start : f.stop] for f in found if f.number < number)
    return below, b"".join(message[f.start : f.stop] for f in found if f.number >= number)
