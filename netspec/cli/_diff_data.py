"""A comparison as JSON: the schema that docs/diff-json.md describes."""

from __future__ import annotations

from typing import Any

from netspec.ir.canonical import fields
from netspec.ir.diff import Change, Comparison, Position, Wire, own_tops
from netspec.ir.graph import Graph, LayerSpec


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """Numbers of layers, and the changes in the order of the second net."""
    a, b = comparison.a, comparison.b
    return {
        "layers": [len(a.layers), len(b.layers)],
        "changes": [change_data(change, a, b) for change in comparison.changes],
    }


def change_data(change: Change, a: Graph, b: Graph) -> dict[str, Any]:
    """One change."""
    i, j = change.at
    return {
        "kind": change.kind,
        "names": [name or None for name in change.names],
        "types": [type_of(a, i), type_of(b, j)],
        "at": [i, j],
        "lines": [line(a, i), line(b, j)],
        "field": change.field or None,
        "old": value_data(change.old, a),
        "new": value_data(change.new, b),
        "because": list(change.because),
    }


def value_data(value: Any, graph: Graph) -> Any:
    """A layer, the wires of a layer, or a setting."""
    if isinstance(value, LayerSpec):
        return layer_data(value, graph)
    if isinstance(value, tuple):
        return [{"blob": v.blob, "layer": v.layer} if isinstance(v, Wire) else v for v in value]
    return value


def layer_data(spec: LayerSpec, graph: Graph) -> dict[str, Any]:
    """A whole layer, its settings in their one spelling."""
    made = graph.writers()
    return {
        "name": spec.name,
        "type": spec.type,
        "bottoms": [{"blob": b.name, "layer": made[b].name} for b in spec.bottoms],
        "tops": [t.name for t in own_tops(spec)],
        "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in fields(spec.proto).items()},
    }


def type_of(graph: Graph, at: Position) -> str | None:
    return None if at is None else graph.layers[at].type


def line(graph: Graph, at: Position) -> int | None:
    """The line a layer stands at, where that is known."""
    return None if at is None else graph.layers[at].place.loc.line or None
