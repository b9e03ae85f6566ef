"""infer_shapes: the shape of every blob, without data and without allocating.

1. Shapes given by the caller stand for the tops of Input and data layers.
2. Every other top's shape comes from its layer's shape rule.
3. What enters the net (a top of a layer without bottoms) has at least one value: an empty batch is refused.
4. A blob of more values than Caffe can index (2^31 - 1), or larger than this machine's memory, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from math import prod

from netspec.errors import SpecError, suggestion
from netspec.ir.graph import Blob, LayerSpec
from netspec.layers.base import INT_MAX, Layer, Shape
from netspec.passes.bind import Bound, blame

Shapes = dict[Blob, Shape]


def infer_shapes(
    bound: Bound, given: Mapping[str, Shape] | None = None, failed: dict[int, SpecError] | None = None
) -> Shapes:
    """`{blob: shape}`; `given` maps names of input and data tops to shapes.

    With `failed`, the error of a layer whose shapes cannot be told is put there by position instead of raised, and the
    blobs below it have no shape.
    """
    given = dict(given or {})
    shapes: Shapes = {}
    for n, (spec, layer) in enumerate(bound):
        if failed is not None and any(b not in shapes for b in spec.bottoms):
            continue
        try:
            shapes.update(zip(spec.tops, top_shapes(spec, layer, shapes, given), strict=True))
        except SpecError as e:
            if failed is None:
                raise
            failed[n] = e
    check_given(bound, given)
    return shapes


def top_shapes(spec: LayerSpec, layer: Layer, shapes: Shapes, given: Mapping[str, Shape]) -> list[Shape]:
    """The shapes of one layer's tops."""
    source = spec.type == "Input" or layer.is_data
    if source and all(top.name in given for top in spec.tops):
        tops = [given[top.name] for top in spec.tops]
    else:
        with blame(spec):
            tops = layer.shapes([shapes[b] for b in spec.bottoms])
        if source:
            tops = [given.get(top.name, shape) for top, shape in zip(spec.tops, tops, strict=True)]
    for top, shape in zip(spec.tops, tops, strict=True):
        check_size(spec, top, shape)
        if not spec.bottoms and 0 in shape:
            raise spec.error(f"top '{top}' of shape {list(shape)} is empty; every dimension must be at least 1")
    return [tuple(shape) for shape in tops]


def check_size(spec: LayerSpec, top: Blob, shape: Shape) -> None:
    """Refuses a blob that could not be held."""
    if min(shape, default=0) < 0:
        raise spec.error(f"top '{top}' would have the shape {list(shape)}")
    values = prod(shape)
    if values > INT_MAX or 4 * values > memory_bytes():
        raise spec.error(
            f"top '{top}' of shape {list(shape)} would take {size_text(4 * values)}; "
            f"a blob holds at most {INT_MAX} values and this machine {size_text(memory_bytes())}"
        )


def check_given(bound: Bound, given: Mapping[str, Shape]) -> None:
    sources = [t.name for spec, layer in bound if spec.type == "Input" or layer.is_data for t in spec.tops]
    for name in given:
        if name not in sources:
            raise SpecError(f"the net has no input '{name}'{suggestion(name, sources)}")


@lru_cache(maxsize=1)
def memory_bytes() -> int:
    """The machine's memory in bytes; unlimited where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63 - 1


def size_text(size: float) -> str:
    """Bytes for people: 1536 -> 1.5 KiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
