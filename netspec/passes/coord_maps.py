"""coord_maps: how positions of any blob relate to those of any other.

1. Each layer gives the map from its bottom to its top; a walk composes them. Nothing is known of layers beyond that.
2. A layer that takes any number of bottoms into one top (Eltwise, Concat) treats them alike: its map holds for all of
   them. Any other maps its first bottom (what Crop or Scale read besides has no place), or each bottom to its own top.
3. Two blobs are related through every blob that both come from. All ways must give the same map.

Positions are cell centres, counted from 0: position t of a top sees the bottom around (t - shift) / scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from netspec.errors import SpecError, suggestion
from netspec.ir.coords import IDENTITY, CoordMap, compose, equal, inverse, widen
from netspec.ir.graph import Blob, LayerSpec
from netspec.layers import Layer
from netspec.passes.bind import Bound, blame


@dataclass(frozen=True)
class ReceptiveField:
    """What a cell sees of the input, per spatial axis (one number stands for all of them), in input pixels.

    Cell t sees `size` pixels around offset + stride * t.
    """

    size: tuple[Fraction, ...]
    stride: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]


def coord_map(bound: Bound, blob: Blob | str, reference: Blob | str) -> CoordMap:
    """position in reference = scale * position in blob + shift. A name means the last blob of that name.

    Raises SpecError where no layers connect the two by position, and where two ways between them disagree.
    """
    start, end = find(bound, blob), find(bound, reference)
    to_start, to_end = maps_to(bound, start), maps_to(bound, end)
    found: tuple[Blob, CoordMap] | None = None
    for common in [b for b in to_start if b in to_end]:
        via = compose(inverse(to_start[common]), to_end[common])
        if found and not equal(found[1], via):
            raise SpecError(
                f"'{start}' and '{end}' are aligned in two ways: {words(found[1])} through '{found[0]}', "
                f"{words(via)} through '{common}'"
            )
        found = found or (common, via)
    if found is None:
        raise SpecError(f"no layers that keep places connect '{start}' with '{end}'")
    return found[1]


def crop_offset(bound: Bound, bottom: Blob | str, reference: Blob | str, axis: int = 2) -> list[int]:
    """The offsets of a Crop from `axis` on that align bottom with reference: -shift, one for all axes or one each.

    Raises SpecError unless both have the same scale and the offsets are integers of at least 0.
    """
    m = coord_map(bound, bottom, reference)
    where = f"cannot crop '{bottom}' to '{reference}'"
    if m.axis is not None and m.axis + 1 != axis:
        raise SpecError(f"{where}: they correspond from axis {m.axis + 1} on, not from {axis}")
    if any(s != 1 for s in m.scale):
        raise SpecError(f"{where}: one cell covers {listed(m.scale)} of the reference's; cells must be of one size")
    if any(t > 0 or t.denominator != 1 for t in m.shift):
        raise SpecError(f"{where}: the offset would be {listed([-t for t in m.shift])}; it must be whole, at least 0")
    offsets = [int(-t) for t in m.shift]
    return offsets[:1] if len(set(offsets)) == 1 else offsets


def receptive_fields(bound: Bound) -> dict[Blob, ReceptiveField]:
    """Of every blob whose places correspond to the input's. The inputs are the tops of layers without bottoms.

    Where branches of one stride join, what any of them sees counts; branches of different strides give no row.
    """
    table: dict[Blob, ReceptiveField] = {}
    for spec, layer in bound:
        if not spec.bottoms:
            table.update(dict.fromkeys(spec.tops, ReceptiveField((Fraction(1),), (Fraction(1),), (Fraction(0),))))
        for top in spec.tops:
            fields = [seen(spec, layer, table[b]) for b, t in links(spec, layer) if t == top and b in table]
            joined = union([f for f in fields if f])
            if joined:
                table[top] = joined
    return table


def find(bound: Bound, blob: Blob | str) -> Blob:
    """A blob by its name: the last of that name."""
    if isinstance(blob, Blob):
        return blob
    last = bound.graph.last()
    if blob not in last:
        raise SpecError(f"the net has no blob '{blob}'{suggestion(blob, last)}")
    return last[blob]


def links(spec: LayerSpec, layer: Layer) -> Iterator[tuple[Blob, Blob]]:
    """The pairs of bottom and top whose places the layer's map relates."""
    if layer.same_count:
        yield from zip(spec.bottoms, spec.tops, strict=True)
        return
    alike = layer.bottoms[1] is None
    for bottom in spec.bottoms if alike else spec.bottoms[:1]:
        for top in spec.tops:
            yield bottom, top


def layer_map(spec: LayerSpec, layer: Layer) -> CoordMap | None:
    """The layer's map, its errors with the layer's place."""
    with blame(spec):
        return layer.coord_map()


def maps_to(bound: Bound, blob: Blob) -> dict[Blob, CoordMap]:
    """For every blob that `blob` comes from by position, itself included: the map from there to it."""
    known = {blob: IDENTITY}
    for spec, layer in reversed(list(bound)):
        if not any(top in known for top in spec.tops):
            continue
        own = layer_map(spec, layer)
        for bottom, top in links(spec, layer) if own else ():
            if own and top in known:
                with blame(spec):
                    via = compose(own, known[top])
                if not equal(known.setdefault(bottom, via), via):
                    raise spec.error(
                        f"two ways from '{bottom}' to '{blob}' disagree: {words(via)} through this layer, "
                        f"{words(known[bottom])} through a later one"
                    )
    return known


def seen(spec: LayerSpec, layer: Layer, bottom: ReceptiveField) -> ReceptiveField | None:
    """A top's field from its bottom's.

    With top = s * bottom + t and r bottom cells a top cell: stride / s, offset - stride t / s, size + stride (r - 1).
    """
    m = layer_map(spec, layer)
    if m is None:
        return None
    with blame(spec):
        reach = tuple(Fraction(r) for r in layer.reach())
    n = max(len(bottom.size), len(m.scale), len(reach))
    rows = zip(
        *(widen(v, n) for v in (bottom.size, bottom.stride, bottom.offset, m.scale, m.shift, reach)), strict=True
    )
    new = [(size + stride * (r - 1), stride / s, offset - stride * t / s) for size, stride, offset, s, t, r in rows]
    size, stride, offset = zip(*new, strict=True)
    return ReceptiveField(size, stride, offset)


def union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    """The span from the first pixel any of them sees to the last, if they go on in equal strides."""
    if not fields:
        return None
    n = max(len(f.size) for f in fields)
    wide = [[widen(v, n) for v in (f.size, f.stride, f.offset)] for f in fields]
    if any(stride != wide[0][1] for _, stride, _ in wide):
        return None
    first = [min(o[i] - (s[i] - 1) / 2 for s, _, o in wide) for i in range(n)]
    last = [max(o[i] + (s[i] - 1) / 2 for s, _, o in wide) for i in range(n)]
    size = tuple(b - a + 1 for a, b in zip(first, last, strict=True))
    return ReceptiveField(size, wide[0][1], tuple((a + b) / 2 for a, b in zip(first, last, strict=True)))


def words(m: CoordMap) -> str:
    """A map for people: `x 1/2 + 3`."""
    return f"times {listed(m.scale)} plus {listed(m.shift)}"


def listed(values: tuple[Fraction, ...] | list[Fraction]) -> str:
    """Fractions for people, one for all axes where they are equal."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(str(v) for v in (distinct if len(distinct) == 1 else values))
