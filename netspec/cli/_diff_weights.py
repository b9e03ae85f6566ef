"""Weight files compared with each other, and with a net."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from netspec import weights
from netspec.cli._page import dims, shown, text
from netspec.ir.graph import Graph
from netspec.ir.words import counted
from netspec.weights.model import blob_name
from netspec.weights.report import match

PIECE = 1 << 20
Result = tuple[dict[str, Any], list[Any]]


def two_files(a: str, b: str) -> Result:
    """Blob by blob: greatest and mean difference, cosine, and whether the bits are the same."""
    ours, theirs = weights.read(a).blobs(), weights.read(b).blobs()
    rows = [row for name in ours if name in theirs for row in layer_rows(name, ours[name], theirs[name])]
    data = {
        "a": a,
        "b": b,
        "removed": [n for n in ours if n not in theirs],
        "added": [n for n in theirs if n not in ours],
        "blobs": rows,
    }
    data["same"] = not data["removed"] and not data["added"] and all(r["identical"] for r in rows)
    return data, two_files_text(data)


def layer_rows(name: str, a: list[Any], b: list[Any]) -> list[dict[str, Any]]:
    rows = []
    for i in range(max(len(a), len(b))):
        old, new = (side[i] if i < len(side) else None for side in (a, b))
        rows.append({"layer": name, "blob": blob_name(i), **blob_row(old, new)})
    return rows


def blob_row(a: np.ndarray | None, b: np.ndarray | None) -> dict[str, Any]:
    """How far two blobs are apart; only shapes where these differ."""
    shapes = [None if x is None else list(x.shape) for x in (a, b)]
    row: dict[str, Any] = {"shapes": shapes, "identical": False}
    if a is None or b is None or a.shape != b.shape:
        return {**row, "identical": a is None and b is None}
    most = total = dot = norm_a = norm_b = 0.0
    same = True
    x, y = a.reshape(-1), b.reshape(-1)
    for start in range(0, x.size, PIECE):
        p, q = x[start : start + PIECE], y[start : start + PIECE]
        if np.array_equal(p.view(np.uint32), q.view(np.uint32)):
            squares = float(np.dot(p.astype(np.float64), p))
            dot, norm_a, norm_b = dot + squares, norm_a + squares, norm_b + squares
            continue
        same = False
        u, v = p.astype(np.float64), q.astype(np.float64)
        gap = np.abs(u - v)
        most, total = max(most, float(gap.max())), total + float(gap.sum())
        dot, norm_a, norm_b = dot + float(u @ v), norm_a + float(u @ u), norm_b + float(v @ v)
    scale = (norm_a * norm_b) ** 0.5
    cosine = dot / scale if scale else None
    return {**row, "identical": same, "max": most, "mean": total / max(x.size, 1), "cosine": cosine}


def two_files_text(data: dict[str, Any]) -> list[Any]:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title, side in (
        ("layer", "left"),
        ("blob", "left"),
        ("shape", "left"),
        ("max |Δ|", "right"),
        ("mean |Δ|", "right"),
        ("cosine", "right"),
    ):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    differing = [r for r in data["blobs"] if not r["identical"]]
    for r in differing:
        old, new = (None if s is None else dims(s) for s in r["shapes"])
        shape = Text(old or "") if old == new else text((old or "none", "red"), " → ", (new or "none", "green"))
        numbers = [f"{r[k]:.4g}" if r.get(k) is not None else "" for k in ("max", "mean")]
        cosine = f"{r['cosine']:.6f}" if r.get("cosine") is not None else ""
        table.add_row(Text(shown(r["layer"])), r["blob"], shape, *numbers, cosine)
    same = len(data["blobs"]) - len(differing)
    head = f"the same, bit for bit: {counted(same, 'blob')}"
    if not data["same"]:
        head = f"{counted(len(differing), 'blob')} not the same, {same} the same bit for bit"
    out: list[Any] = [*files(data), text((head, "bold"))]
    for sign, style, key in (("-", "red", "removed"), ("+", "green", "added")):
        out += [text((f"{sign} {shown(name)}", style)) for name in data[key]]
    return [*out, Text(), table] if differing else out


def files(data: dict[str, Any]) -> list[Text]:
    return [text(("--- ", "red"), shown(data["a"])), text(("+++ ", "green"), shown(data["b"]))]


def net_and_file(net: str, graph: Graph, file: str) -> Result:
    """What a weight file has for a net: loaded, missing, unexpected, of another shape."""
    wanted, shared = wanted_shapes(graph)
    report = match(weights.read(file), wanted, shared)
    data = {
        "a": net,
        "b": file,
        "loaded": list(report.loaded),
        "missing": report.missing,
        "unexpected": report.unexpected,
        "wrong_shape": [
            {"layer": m.layer, "blob": m.index, "net": listed(m.net), "file": listed(m.file)}
            for m in report.wrong_shape
        ],
    }
    data["same"] = not (report.missing or report.unexpected or report.wrong_shape)
    return data, net_and_file_text(data)


def listed(shape: Any) -> list[int] | None:
    return None if shape is None else list(shape)


def wanted_shapes(graph: Graph) -> tuple[dict[str, list[tuple[int, ...]]], set[tuple[str, int]]]:
    """Shapes of a net's parameter blobs by layer, and which of them another layer owns."""
    from netspec.passes.bind import bind
    from netspec.passes.data_to_input import data_to_input
    from netspec.passes.infer_shapes import infer_shapes
    from netspec.passes.parameters import parameters

    bound = bind(data_to_input(graph).graph)
    table = parameters(bound, infer_shapes(bound))
    wanted: dict[str, list[tuple[int, ...]]] = {spec.name: [] for spec in bound.graph.layers}
    shared = set()
    for position, p in enumerate(table):
        name = bound.graph.layers[p.layer].name
        wanted[name].append(p.blob.shape)
        if p.owner != position:
            shared.add((name, p.index))
    return wanted, shared


def net_and_file_text(data: dict[str, Any]) -> list[Any]:
    loaded = len(data["loaded"])
    head = f"{loaded} layers fit" + (
        ""
        if data["same"]
        else f", {len(data['missing'])} missing, "
        f"{len(data['unexpected'])} unexpected, {len(data['wrong_shape'])} of another shape"
    )
    out: list[Any] = [*files(data), text((head, "bold"))]
    out += [
        text(("- ", "red"), (shown(n), "red"), "  in the net, not in the file: keeps its filler's values")
        for n in data["missing"]
    ]
    out += [
        text(("+ ", "green"), (shown(n), "green"), "  in the file, not in the net: left out")
        for n in data["unexpected"]
    ]
    for m in data["wrong_shape"]:
        net, file = ("none" if s is None else dims(s) for s in (m["net"], m["file"]))
        out.append(
            text(
                ("~ ", "yellow"),
                (shown(m["layer"]), "yellow"),
                f"  {blob_name(m['blob'])}  net ",
                (net, "red"),
                ", file ",
                (file, "green"),
            )
        )
    return out
