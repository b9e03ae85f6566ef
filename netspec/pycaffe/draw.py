"""caffe.draw: pictures of nets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netspec import schema
from netspec.errors import SpecError
from netspec.spec.binary import replacing

FILTERS = ("Convolution", "Deconvolution", "Pooling")
COLOURS = {"Convolution": "#ff5050", "Pooling": "#ff9900", "InnerProduct": "#cc33ff"}


def draw_net(caffe_net: Any, rankdir: str = "LR", ext: str = "png", phase: int | None = None) -> bytes:
    """A NetParameter as a picture: any format of Graphviz's, or `dot`, its text; with `phase`, that one's layers."""
    dot = dot_text(caffe_net, rankdir, phase=phase)
    if ext in ("dot", "raw"):
        return dot.encode()
    if shutil.which("dot") is None:
        raise SpecError(f"drawing .{ext} wants Graphviz's `dot`; draw to .dot, or use `netspec draw`")
    done = subprocess.run(["dot", f"-T{ext}"], input=dot.encode(), capture_output=True, check=False)
    if done.returncode:
        raise SpecError(f"dot cannot draw .{ext}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def draw_net_to_file(caffe_net: Any, filename: str, rankdir: str = "LR", phase: int | None = None) -> None:
    """The picture into a file, its format by the suffix."""
    picture = draw_net(caffe_net, rankdir, Path(filename).suffix[1:] or "png", phase)
    with replacing(filename) as path:
        path.write_bytes(picture)


def get_pydot_graph(caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None) -> Any:
    """The graph as a pydot object."""
    try:
        import pydot  # type: ignore[import-not-found]
    except ImportError:
        raise SpecError("get_pydot_graph wants the package pydot; draw_net does without") from None
    return pydot.graph_from_dot_data(dot_text(caffe_net, rankdir, label_edges, phase))[0]


def dot_text(net: Any, rankdir: str = "LR", label_edges: bool = True, phase: int | None = None) -> str:
    """Layers as boxes, blobs as octagons, edges with what a layer puts out."""
    lines = [f"digraph {quoted(net.name or 'Net')} {{", f"  rankdir={rankdir};"]
    blobs: dict[str, None] = {}
    for number, layer in enumerate(net.layer):
        if phase is None or runs(layer, phase):
            blobs.update(dict.fromkeys([*layer.bottom, *layer.top]))
            lines += layer_lines(number, layer, label_edges)
    lines += [
        f'  {quoted(f"{b}_blob")} [label={quoted(b)}, shape=octagon, fillcolor="#E0E0E0", style=filled];' for b in blobs
    ]
    return "\n".join([*lines, "}"]) + "\n"


def layer_lines(number: int, layer: Any, label_edges: bool) -> Iterator[str]:
    colour = COLOURS.get(layer.type, "#6495ED")
    node = quoted(f"{number}_{layer.name}_{layer.type}")
    yield f'  {node} [label={quoted(label(layer))}, shape=record, fillcolor="{colour}", style=filled];'
    for bottom in layer.bottom:
        yield f"  {quoted(f'{bottom}_blob')} -> {node};"
    edge = f" [label={quoted(outputs(layer))}]" if label_edges and outputs(layer) else ""
    for top in layer.top:
        yield f"  {node} -> {quoted(f'{top}_blob')}{edge};"


def label(layer: Any) -> str:
    """Name, type, and the window where there is one."""
    words = f"{layer.name}\n({layer.type})"
    if layer.type not in FILTERS:
        return words
    p = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
    if layer.type == "Pooling":
        words = f"{layer.name}\n({schema.enum_name(p, 'pool')} {layer.type})"
    window = [f"{word}: {first(getattr(p, field), default)}" for word, field, default in WINDOW]
    return "\n".join([words, *window])


WINDOW = (("kernel size", "kernel_size", 0), ("stride", "stride", 1), ("pad", "pad", 0))


def first(value: Any, default: int) -> int:
    """A number, or the first of several."""
    return value if isinstance(value, int) else next(iter(value), default)


def outputs(layer: Any) -> str:
    """How many channels or values come out, where the layer says so."""
    for field in ("convolution_param", "inner_product_param"):
        if layer.HasField(field):
            return str(getattr(layer, field).num_output)
    return ""


def runs(layer: Any, phase: int) -> bool:
    """Whether a layer's include and exclude rules let it run in a phase."""
    included = not layer.include or any(not r.HasField("phase") or r.phase == phase for r in layer.include)
    return included and not any(r.HasField("phase") and r.phase == phase for r in layer.exclude)


def quoted(text: str) -> str:
    """A string of the DOT language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
