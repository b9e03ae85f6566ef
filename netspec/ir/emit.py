"""Graph -> NetParameter and text: what `lower` reads back as the same graph.

1. Layers are written in the order they run, settings as they are, bottoms and tops by name alone.
2. A bottom must be the last value of its name at that place, since that is how names are read.
3. Tops that a loss layer made by itself are left out.
4. Stages are written as the net's own state; phase and level come from whoever reads the text.
"""

from __future__ import annotations

from typing import Any

from netspec import schema
from netspec.errors import Loc
from netspec.ir.graph import AUTOMATIC, Blob, Graph, LayerSpec
from netspec.spec.text import Document, Place, dump


def emit(graph: Graph) -> Any:
    """The net as a message in today's form."""
    net = schema.new("NetParameter")
    if graph.name:
        net.name = graph.name
    for field in ("force_backward", "debug_info"):
        if getattr(graph, field):
            setattr(net, field, True)
    net.state.stage.extend(graph.state.stages)
    if not graph.state.stages:
        net.ClearField("state")
    last: dict[str, Blob] = {}
    for spec in graph.layers:
        for bottom in spec.bottoms:
            if last[bottom.name] != bottom:
                raise AssertionError(f"{spec.name} reads {bottom!r}, but names alone would give {last[bottom.name]!r}")
        last.update((top.name, top) for top in spec.tops)
        write_layer(spec, net.layer.add())
    return net


def write_layer(spec: LayerSpec, proto: Any) -> None:
    """A layer's settings with the name, type and edges it has in the graph."""
    proto.CopyFrom(spec.proto)
    proto.name, proto.type = spec.name, spec.type
    for field in ("name", "type"):
        if not getattr(spec, field) and not spec.proto.HasField(field):
            proto.ClearField(field)
    proto.bottom[:] = [b.name for b in spec.bottoms]
    proto.top[:] = [t.name for t in spec.tops if t.name != AUTOMATIC]


def emit_text(graph: Graph) -> str:
    """The net as prototxt."""
    return dump(emit(graph))


def document(graph: Graph) -> Document:
    """The net as a message, with the places its layers had."""
    return Document(emit(graph), Place(Loc(graph.file), {"layer": [spec.place for spec in graph.layers]}))
