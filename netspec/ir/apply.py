"""Changes and the graph they start from -> the graph they lead to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netspec import schema
from netspec.errors import Loc
from netspec.ir.align import Side
from netspec.ir.canonical import set_field
from netspec.ir.diff import Change, Position, match_tops, net_settings, own_tops
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.ir.lower import lower
from netspec.spec.text import Document, Place


def apply(changes: Sequence[Change], a: Graph) -> Graph:
    """The second graph of `diff(a, b)`, its settings in their one spelling: `apply(diff(a, b), a)` means what b means.

    1. Layers that are neither removed nor moved keep their order; added and moved ones take their places between.
    2. Bottoms follow their values through every renaming, unless the layer is rewired.
    """
    by_layer: dict[Position, list[Change]] = defaultdict(list)
    for change in changes:
        by_layer[change.at[0]].append(change)
    order = _order(changes, len(a.layers))
    protos = Side(a).protos
    layers: list[tuple[Any, Place]] = []
    values: dict[Blob, str] = {}
    for i, added in order:
        if added is not None:
            layers.append((_copy(added.proto), added.place))
            continue
        assert i is not None
        spec = a.layers[i]
        proto = _changed(spec, protos[i], by_layer[i], values)
        names = match_tops([t.name for t in own_tops(spec)], list(proto.top))
        values.update((spec.tops[m], proto.top[n]) for m, n in names.items())
        layers.append((proto, spec.place))
    return _lowered(a, [c for c in changes if c.kind == "net"], layers)


def _order(changes: Sequence[Change], n_a: int) -> list[tuple[Position, LayerSpec | None]]:
    """Each layer of the second graph: its position in the first, or the layer that is added."""
    slots: dict[int, tuple[Position, LayerSpec | None]] = {}
    gone = set()
    for c in changes:
        if c.kind == "added":
            slots[c.at[1]] = (None, c.new)  # type: ignore[index]
        elif c.kind == "moved":
            slots[c.at[1]] = (c.at[0], None)  # type: ignore[index]
        if c.kind in ("removed", "moved"):
            gone.add(c.at[0])
    rest = (i for i in range(n_a) if i not in gone)
    total = len(slots) + n_a - len(gone)
    return [slots[j] if j in slots else (next(rest), None) for j in range(total)]


def _changed(spec: LayerSpec, proto: Any, changes: Sequence[Change], values: dict[Blob, str]) -> Any:
    """The layer with its changes; `values` are the names that the values above have now."""
    out = _copy(proto)
    rewired = [c for c in changes if c.kind == "rewired"]
    out.bottom[:] = [w.blob for w in rewired[0].new] if rewired else [values[v] for v in spec.bottoms]
    for change in changes:
        if change.kind == "renamed":
            out.name = change.new
        elif change.kind == "tops":
            out.top[:] = change.new
        elif change.field == "type":
            out.type = change.new
        elif change.kind == "changed":
            set_field(out, change.field, change.new)
    return out


def _copy(proto: Any) -> Any:
    out = type(proto)()
    out.CopyFrom(proto)
    return out


def _lowered(a: Graph, changes: Sequence[Change], layers: Sequence[tuple[Any, Place]]) -> Graph:
    """The graph of the layers, in one spelling."""
    settings = {**net_settings(a), **{c.field: c.new for c in changes}}
    net = schema.new("NetParameter", name=settings["name"])
    net.force_backward, net.debug_info = settings["force_backward"], settings["debug_info"]
    net.layer.extend(proto for proto, _ in layers)
    place = Place(Loc(a.file), {"layer": [where for _, where in layers]})
    graph = lower(Document(net, place), settings["phase"], settings["level"], settings["stages"])
    specs = zip(graph.layers, Side(graph).protos, strict=True)
    return replace(graph, layers=tuple(replace(spec, proto=proto) for spec, proto in specs))
