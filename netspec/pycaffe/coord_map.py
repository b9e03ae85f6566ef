"""Coordinates of tops in nets written with NetSpec: how one maps to another, and the crop that aligns them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.ir import coords
from netspec.ir.graph import LayerSpec
from netspec.ir.lower import lower
from netspec.layers import catalogue
from netspec.layers.base import Context, Layer, registry
from netspec.passes import coord_maps
from netspec.passes.bind import Bound
from netspec.pycaffe.net_spec import Function, Top, Writer, layer
from netspec.spec import text

Map = tuple[int | None, Any, Any]
"""(axis, scale, shift): places along every axis after `axis`, as one number or one each."""


class UndefinedMapException(Exception):
    """A layer whose places do not correspond."""


class AxisMismatchException(Exception):
    """Layers that map places along different axes."""


class _NoMap(Layer, abstract=True):
    """Stands for a source, or a type nobody knows: no places correspond."""

    bottoms = (0, None)
    tops = (0, None)


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """(axis, scale, shift): position in top_to = scale * position in top_from + shift, on every axis after `axis`."""
    bound, names = bind(top_from, top_to)
    try:
        found = coord_maps.coord_map(bound, *names)
    except SpecError as e:
        raise reason(e) from None
    return triple(found)


def coord_map(fn: Function) -> Map:
    """A layer's own map, from its bottom to its top."""
    bound, names = bind(fn.tops[0])
    spec, layer = next((s, m) for s, m in bound if names[0] in [top.name for top in s.tops])
    found = coord_maps.layer_map(spec, layer)
    if found is None:
        raise UndefinedMapException(f"{spec.type}: places of its bottom and its top do not correspond")
    return triple(found)


def compose(base_map: Map, next_map: Map) -> Map:
    """base_map after next_map: scale = a1 * a2, shift = a1 * b2 + b1."""
    try:
        return triple(coords.compose(exact(next_map), exact(base_map)))
    except SpecError as e:
        raise AxisMismatchException(e.message) from None


def inverse(coord_map: Map) -> Map:
    """The map back: scale = 1 / a, shift = -b / a."""
    return triple(coords.inverse(exact(coord_map)))


def exact(m: Map) -> coords.CoordMap:
    """A map in fractions."""
    axis, *values = m
    scale, shift = ([Fraction(float(v)) for v in np.atleast_1d(some)] for some in values)
    n = max(len(scale), len(shift))
    return coords.CoordMap(axis, coords.widen(tuple(scale), n), coords.widen(tuple(shift), n))


def triple(m: coords.CoordMap) -> Map:
    """A map in numbers, as scripts read it."""
    if m.axis is None:
        return None, 1.0, 0.0
    return m.axis, numbers(m.scale), numbers(m.shift)


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that aligns top_from with top_to and gives it that one's size."""
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    if axis is None:
        raise AttributeError("the two tops correspond on every axis: there is nothing to crop")
    assert (scale == 1).all(), f"scale mismatch on crop (a = {scale})"
    assert (shift <= 0).all(), f"cannot crop negative offset (b = {shift})"
    assert (np.round(shift) == shift).all(), f"cannot crop noninteger offset (b = {shift})"
    offset = [int(-b) for b in np.round(shift)]
    return layer("Crop")(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})


def bind(*tops: Top) -> tuple[Bound, list[str]]:
    """The net of some tops, bound as far as coordinates need, and the tops' names."""
    writer = Writer({})
    written = [writer.write(top.fn) for top in tops]
    names = [message.top[top.n] for message, top in zip(written, tops, strict=True)]
    graph = lower(text.parse(text.dump(writer.net()), "<NetSpec>"))
    catalogue()
    return Bound(graph, tuple(mapped(spec) for spec in graph.layers)), names


def mapped(spec: LayerSpec) -> Layer:
    """The layer, without what its map does not depend on: sources and unknown types have none, num_output may lack."""
    context = Context()
    if not spec.bottoms or spec.type not in registry or spec.type == "Python":
        return _NoMap(spec.proto, context)
    convolution = spec.proto.convolution_param
    if spec.proto.HasField("convolution_param") and not convolution.num_output:
        convolution.num_output = convolution.group
    return registry[spec.type](spec.proto, context)


def numbers(values: Any) -> np.ndarray:
    """One number where all axes have the same, else one each."""
    return np.array([float(v) for v in (values if len(set(values)) > 1 else values[:1])])


def reason(error: SpecError) -> Exception:
    """The exception that scripts expect for a map that cannot be had."""
    if "axes" in error.message and "match" in error.message:
        return AxisMismatchException(error.message)
    return RuntimeError(f"Could not compute map between tops; are they connected by spatial layers? ({error.message})")
