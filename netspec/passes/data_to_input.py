"""data_to_input: data layers become Input layers, so that a net can be looked at without its data.

1. A layer that brings data (no bottoms; not Input, DummyData or Parameter) becomes an Input of the same name and tops.
2. A top's shape is the one given by the caller; else what the layer's settings say: batch_size, crop_size, new_height
   and new_width, MemoryData's own; channels are 3 unless is_color or force_gray says 1.
3. What the settings leave open is assumed: images 3 x 500 x 500 (SIFT Flow 256 x 256, NYUDv2 425 x 560), a `depth` one
   channel; label maps (`label`, `sem`, `geo`) one channel of the same size; batches of 1. What a top is, the published
   data layers tell by its place, or in param_str; of others its name does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from netspec import schema
from netspec.ir.graph import Graph, LayerSpec
from netspec.layers import layer_class
from netspec.layers.base import Shape
from netspec.passes.bind import blame
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
IMAGES = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}


@dataclass(frozen=True)
class Inputs:
    """The graph without data layers, and the shapes nobody gave: `{top: shape}`."""

    graph: Graph
    assumed: dict[str, Shape]


def brings_data(spec: LayerSpec) -> bool:
    """Whether a layer reads from outside the net: one without bottoms whose type needs none."""
    if spec.bottoms or spec.type in NO_DATA:
        return False
    with blame(spec):
        return layer_class(spec.type).bottoms[0] == 0


def data_to_input(graph: Graph, given: Mapping[str, Shape] | None = None) -> Inputs:
    """The graph with Input layers only; a net that has no data layers comes back as it is."""
    assumed: dict[str, Shape] = {}
    layers = []
    for spec in graph.layers:
        if brings_data(spec) or spec.type == "Input" and not len(spec.proto.input_param.shape):
            spec, guesses = input_layer(spec, given or {})
            assumed.update(guesses)
        layers.append(spec)
    return Inputs(replace(graph, layers=tuple(layers)).verify("data_to_input"), assumed)


def input_layer(spec: LayerSpec, given: Mapping[str, Shape]) -> tuple[LayerSpec, dict[str, Shape]]:
    """An Input layer in a data layer's place, and which of its shapes are assumed."""
    known = {**settings_shapes(spec), **{t.name: given[t.name] for t in spec.tops if t.name in given}}
    guesses = {t.name: guess(spec, t.name, known) for t in spec.tops if t.name not in known}
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


def settings_shapes(spec: LayerSpec) -> dict[str, Shape]:
    """Shapes that a data layer's settings determine, by top."""
    tops = [t.name for t in spec.tops]
    if spec.type == "MemoryData":
        p = spec.proto.memory_data_param
        return dict(zip(tops, [(p.batch_size, p.channels, p.height, p.width), (p.batch_size, 1, 1, 1)], strict=False))
    if spec.type not in IMAGES:
        return {}
    p, transform = getattr(spec.proto, IMAGES[spec.type]), spec.proto.transform_param
    crop = transform.crop_size or p.crop_size
    resized = (p.new_height, p.new_width) if spec.type == "ImageData" else (0, 0)
    size = (crop, crop) if crop else resized
    gray = transform.force_gray or (spec.type == "ImageData" and not p.is_color)
    batch = p.batch_size or 1
    shapes = [(batch, 1 if gray else 3, *size), (batch,)]
    return {t: s for t, s in zip(tops, shapes, strict=False) if 0 not in s}


def role(spec: LayerSpec, top: str) -> str:
    """What a data layer's top holds: `data`, `label`, `depth`, ..."""
    param = spec.proto.python_param
    listed = TOPS.get(param.module) or (entries(param.param_str) or {}).get("tops", ())
    at = [t.name for t in spec.tops].index(top)
    named = isinstance(listed, (list, tuple)) and at < len(listed) and isinstance(listed[at], str)
    return listed[at] if named else top


def guess(spec: LayerSpec, top: str, known: Mapping[str, Shape]) -> Shape:
    """The shape assumed for a top of which nothing is known but its name and its layer."""
    batch = next((s[0] for s in known.values() if s), 1)
    if spec.type in IMAGES:
        return (batch, 3, *SIZE)
    maps = [s[2:] for s in known.values() if len(s) == 4]
    size = maps[0] if maps else SIZES.get(spec.proto.python_param.module, SIZE)
    one = role(spec, top) in (*ONE_CHANNEL, *LABELS)
    return (batch, 1 if one else 3, *size)
