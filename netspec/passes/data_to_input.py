"""data_to_input: data layers become Input layers, so that a net can be looked at without its data.

1. A layer that brings data (no bottoms; not Input, DummyData or Parameter) becomes an Input of the same name and tops.
   So does one of a type that is not known.
2. A top's shape is the one given by the caller; else what the layer says of it without its data (`declared`).
3. What that leaves open is assumed: batches of 1 with 3 channels, 500 x 500 (SIFT Flow 256 x 256, NYUDv2 425 x 560) or
   the size of what is known; a `depth` one channel; label maps (`label`, `sem`, `geo`) one channel of the same size.
   What a top is, the published data layers tell by its place, or in param_str; of others its name does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from netspec import schema
from netspec.errors import SpecError, UnknownLayer
from netspec.ir.graph import Graph, LayerSpec
from netspec.layers import DataLayer, layer_class
from netspec.layers.base import Context, Shape
from netspec.spec.param_str import entries

NO_DATA = ("Input", "DummyData", "Parameter")
# Image sizes of the published data layers, by their Python module.
SIZES = {"siftflow_layers": (256, 256), "nyud_layers": (425, 560)}
SIZE = (500, 500)
LABELS = ("label", "sem", "geo")
# What the tops of the published data layers are; those of NYUDv2 are listed in param_str.
TOPS = {
    "voc_layers": ("data", "label"),
    "pascalcontext_layers": ("data", "label"),
    "siftflow_layers": ("data", "sem", "geo"),
}
ONE_CHANNEL = ("depth",)


@dataclass(frozen=True)
class Inputs:
    """The graph without data layers, `{top: shape}` of what nobody gave, and errors for types that are not known."""

    graph: Graph
    assumed: dict[str, Shape]
    unknown: tuple[SpecError, ...] = ()


def brings_data(spec: LayerSpec) -> bool:
    """Whether a layer reads from outside the net: one without bottoms whose type needs none, or is not known."""
    if spec.bottoms or spec.type in NO_DATA:
        return False
    return unknown(spec) is not None or layer_class(spec.type).bottoms[0] == 0


def unknown(spec: LayerSpec) -> SpecError | None:
    """The error of a layer whose type is not known."""
    try:
        layer_class(spec.type)
    except UnknownLayer as e:
        return spec.error(e.message)
    return None


def data_to_input(graph: Graph, given: Mapping[str, Shape] | None = None) -> Inputs:
    """The graph with Input layers only; a net that has no data layers comes back as it is."""
    assumed: dict[str, Shape] = {}
    layers, errors = [], []
    for spec in graph.layers:
        if brings_data(spec) or spec.type == "Input" and not len(spec.proto.input_param.shape):
            errors += [error] if (error := unknown(spec)) else []
            spec, guesses = input_layer(spec, given or {}, graph.phase)
            assumed.update(guesses)
        layers.append(spec)
    return Inputs(replace(graph, layers=tuple(layers)).verify("data_to_input"), assumed, tuple(errors))


def input_layer(spec: LayerSpec, given: Mapping[str, Shape], phase: str) -> tuple[LayerSpec, dict[str, Shape]]:
    """An Input layer in a data layer's place, and which of its shapes are assumed."""
    declared = declared_shapes(spec, phase)
    known = {top: shape for top, shape in declared.items() if 0 not in shape}
    known.update({t.name: given[t.name] for t in spec.tops if t.name in given})
    guesses = {t.name: guess(spec, t.name, declared, known) for t in spec.tops if t.name not in known}
    proto = input_proto(spec.name, {**known, **guesses}, spec)
    return replace(spec, type="Input", proto=proto), guesses


def input_proto(name: str, shapes: Mapping[str, Shape], spec: LayerSpec) -> Any:
    """An Input layer's message with the tops of a layer."""
    tops = [t.name for t in spec.tops]
    return schema.new(
        "LayerParameter",
        name=name,
        type="Input",
        top=tops,
        input_param=schema.new("InputParameter", shape=[schema.new("BlobShape", dim=shapes[t]) for t in tops]),
    )


def declared_shapes(spec: LayerSpec, phase: str) -> dict[str, Shape]:
    """What a data layer says of its tops without its data; one that cannot be set up says nothing."""
    try:
        layer = layer_class(spec.type)(spec.proto, Context(phase))
    except SpecError:
        return {}
    shapes = layer.declared() if isinstance(layer, DataLayer) else []
    return dict(zip([t.name for t in spec.tops], shapes, strict=False))


def role(spec: LayerSpec, top: str) -> str:
    """What a data layer's top holds: `data`, `label`, `depth`, ..."""
    param = spec.proto.python_param
    listed = TOPS.get(param.module) or (entries(param.param_str) or {}).get("tops", ())
    at = [t.name for t in spec.tops].index(top)
    named = isinstance(listed, (list, tuple)) and at < len(listed) and isinstance(listed[at], str)
    return listed[at] if named else top


def guess(spec: LayerSpec, top: str, declared: Mapping[str, Shape], known: Mapping[str, Shape]) -> Shape:
    """The shape assumed for a top of which not all is known."""
    maps = [s[2:] for s in known.values() if len(s) == 4 and min(s[2:]) > 2]
    size = maps[0] if maps else SIZES.get(spec.proto.python_param.module, SIZE)
    batch = next((s[0] for s in known.values() if s), 1)
    one = role(spec, top) in (*ONE_CHANNEL, *LABELS)
    usual = (batch, 1 if one else 3, *size)
    said = declared.get(top, (0, 0, 0, 0))
    return tuple(n or usual[axis] for axis, n in enumerate(said))
