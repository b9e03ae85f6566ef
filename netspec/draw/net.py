"""Graph -> Picture: a box for every layer, what follows it in place in the same box, a wire for every value read.

1. A layer joins the box above it when it alone reads that box's value and either overwrites it in place or is a plain
   activation, dropout or normalisation.
2. A wire says the shape of its value where shapes are known; a leading batch of 1 is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.draw.blocks import repeated
from netspec.draw.detail import Known, detail
from netspec.draw.picture import Box, Picture, Wire, text, wrapped
from netspec.draw.theme import WORDS, cut, kind_of
from netspec.ir.align import Side
from netspec.ir.canonical import Value
from netspec.ir.diff import in_place
from netspec.ir.graph import AUTOMATIC, Blob, Graph, LayerSpec
from netspec.ir.words import field_label, number, shown, value

if TYPE_CHECKING:
    from netspec.passes.summary import Summary

FOLLOWING = ("activation", "norm")
STAYING = ("LRN", "MVN", "Softmax", "LogSoftmax", "Normalize")
MOST = 26
"""Characters in a line of a box."""
# Settings that a box leaves to whoever asks for them.
UNSAID = ("bias_term", "lr_mult", "decay_mult", "phase", "include", "exclude", "engine", "propagate_down", "param_str")


def draw_net(graph: Graph, summary: Summary | None = None) -> Picture:
    """The picture of a net; with a summary also shapes and numbers."""
    side, known = Side(graph), Known.of(graph, summary)
    groups = folded(graph)
    boxes = [box(graph, side, group, known) for group in groups]
    wires = wires_of(graph, groups, known)
    kinds = {b.kind for b in boxes}
    blocks = repeated([b.types for b in boxes], [b.title for b in boxes], wires)
    note = f"{len(graph.layers)} layers"
    if summary:
        note += f" · {number(summary.params)} parameters · {number(summary.macs)} multiply-accumulates"
    legend = tuple(kind for kind in WORDS if kind in kinds)
    return Picture(
        title_of(graph), note, tuple(boxes), wires, blocks, legend, {"phase": graph.phase, "file": shown(graph.file)}
    )


def title_of(graph: Graph) -> str:
    """The net's name, else its file's with the folder."""
    path = Path(graph.file).absolute()
    return shown(graph.name or f"{path.parent.name}/{path.stem}")


def folded(graph: Graph) -> list[list[int]]:
    """Positions of layers, those of one box together, boxes in the order of their first layers."""
    readers, at = graph.readers(), {top: n for n, spec in enumerate(graph.layers) for top in spec.tops}
    groups: list[list[int]] = []
    mine: dict[int, list[int]] = {}
    for n, spec in enumerate(graph.layers):
        above = at[spec.bottoms[0]] if spec.bottoms else -1
        if above in mine and mine[above][-1] == above and joins(spec, graph.layers[above], readers):
            mine[above].append(n)
            mine[n] = mine[above]
        else:
            mine[n] = [n]
            groups.append(mine[n])
    return groups


def joins(spec: LayerSpec, above: LayerSpec, readers: Mapping[Blob, Sequence[LayerSpec]]) -> bool:
    """Whether a layer stands in the box of the one above it."""
    alone = len(spec.bottoms) == len(spec.tops) == len(above.tops) == 1 and len(readers[spec.bottoms[0]]) == 1
    light = kind_of(spec.type) in FOLLOWING and spec.type not in STAYING
    return alone and bool(above.bottoms) and (in_place(spec) or light)


def box(graph: Graph, side: Side, group: Sequence[int], known: Known) -> Box:
    """The box of some layers: name, types, settings of the first."""
    first = graph.layers[group[0]]
    types = tuple(graph.layers[n].type for n in group)
    lines = [text(cut(shown(first.name) or "(no name)", 40))]
    lines += [text((line, "dim")) for line in wrapped([shown(t) for t in types], " + ", MOST)]
    said = brief(side.fields[group[0]])
    lines += [text((line, "dim")) for line in wrapped(said, ", ", MOST)[:2]]
    layers = tuple(detail(graph, n, side.fields[n], known) for n in group)
    kind = kind_of(first.type) if first.bottoms else "data"
    return Box(tuple(lines), kind, layers, types=types, settings=", ".join(said))


def brief(fields: Mapping[str, Value]) -> list[str]:
    """The settings that a box has room for: `64 of 3x3`, `stride 2`, `pad 1`."""
    left = {field_label(k): v for k, v in fields.items() if not k.startswith("param[")}
    size, outputs = left.pop("kernel_size", None), left.pop("num_output", None)
    size_text = ("x".join(map(str, (size * 2)[:2])) if isinstance(size, tuple) else f"{size}x{size}") if size else ""
    out = [" of ".join(part for part in (str(outputs) if outputs else "", size_text) if part)]
    out += [str(left.pop("pool"))] if "pool" in left else []
    for name, v in left.items():
        if not any(part in UNSAID or part.endswith("_filler") for part in name.split(".")):
            out.append(f"{name.rpartition('.')[2]} {cut(value(v), 22)}")
    return [part for part in out if part][:4]


def wires_of(graph: Graph, groups: Sequence[Sequence[int]], known: Known) -> tuple[Wire, ...]:
    """A wire for every value that one box reads from another, once."""
    inside = {n: g for g, group in enumerate(groups) for n in group}
    made = {top: inside[n] for n, spec in enumerate(graph.layers) for top in spec.tops}
    wires: dict[Wire, None] = {}
    for n, spec in enumerate(graph.layers):
        for bottom in spec.bottoms:
            if made[bottom] != inside[n]:
                wires[Wire(made[bottom], inside[n], blob_text(bottom), known.shape_text(bottom))] = None
    return tuple(wires)


def blob_text(blob: Blob) -> str:
    """A value's name as a wire has it."""
    return "" if blob.name == AUTOMATIC else shown(blob.name)
