"""What is known of one layer, as a JSON object that a page shows when it is asked.

name, type, line (0: unknown), bottoms [[blob, layer]], tops [[blob, shape]], fields [[name, value]],
numbers [[name, text]], changes [[what, old, new]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netspec.ir.canonical import Value
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.ir.words import dims, field_label, number, shown, value

if TYPE_CHECKING:
    from netspec.passes.summary import Row, Summary


@dataclass(frozen=True)
class Known:
    """Shapes of values as far as they are known; the summary's row of every layer by position, none without one."""

    shapes: dict[Blob, tuple[int, ...]]
    rows: tuple[Row, ...]
    makers: dict[Blob, LayerSpec]

    @classmethod
    def of(cls, graph: Graph, summary: Summary | None) -> Known:
        rows = summary.rows if summary else ()
        shapes = {t: s for row in rows for t, s in zip(row.spec.tops, row.shapes, strict=False)}
        return cls(shapes, rows, graph.writers())

    def shape_text(self, blob: Blob) -> str:
        """`64x500x500`: without a leading batch of 1; empty where the shape is not known."""
        shape = self.shapes.get(blob)
        if shape is None:
            return ""
        return dims(shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)


def detail(graph: Graph, n: int, fields: Mapping[str, Value], known: Known) -> dict[str, Any]:
    """One layer."""
    spec = graph.layers[n]
    return {
        "name": shown(spec.name),
        "type": shown(spec.type),
        "line": spec.place.loc.line,
        "bottoms": [[shown(b.name), shown(known.makers[b].name)] for b in spec.bottoms],
        "tops": [[shown(t.name), dims(known.shapes[t]) if t in known.shapes else ""] for t in spec.tops],
        "fields": [[field_label(k), value(v)] for k, v in fields.items()],
        "numbers": numbers(known.rows[n]) if known.rows else [],
        "changes": [],
    }


def numbers(row: Row) -> list[list[str]]:
    """Parameters, multiply-accumulates, memory, and what a cell sees of the input in pixels."""
    from netspec.passes.infer_shapes import size_text

    cost, out = row.cost, []
    for name, count in (("parameters", cost.params), ("multiply-accumulates", cost.macs)):
        if count:
            out.append([name, f"{count:,}" + (f" ({number(count)})" if count >= 1000 else "")])
    if cost.memory:
        out.append(["memory", size_text(cost.memory)])
    if row.field:
        parts = (("stride", row.field.stride), ("receptive field", row.field.size), ("offset", row.field.offset))
        out += [[name, " x ".join(dict.fromkeys(map(str, v)))] for name, v in parts]
    return out
