"""halo_elision: which part of a chain of layers behind a large pad has to be computed at all.

A pad far larger than the kernel makes most of the first feature maps a function of the weights alone. Along each axis
a blob of the chain then has three parts, whatever the picture:

    [0, clear.lo)  the frame: what the zeros beyond the outer edge of the *feature maps* have changed
    touched        what the picture has changed
    the rest       one constant per channel

1. A chain is a padded Convolution over a net's input, followed by layers that slide a window or work on each place
   alone, each reading only the one before it.
2. Per layer, `touched` grows by the window's reach and `clear` shrinks by it.
3. Each layer computes only its `plane`: what is touched, widened by the margin that a convolution of stride 1 spoils at
   its edge (that ring is overwritten with the constant) and to the grid of the pooling that follows.
4. The frame is computed once on a template, a plane without a picture, as small as has both edges and a constant cell.
5. A chain ends where planes would reach the frame. It is used where it saves a tenth of the work or more.

The result is the same up to the order of additions. Nothing here touches an array; netspec.halo runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from netspec.ir.graph import Blob, LayerSpec
from netspec.layers.base import Layer, Shape
from netspec.layers.window import Window
from netspec.passes.bind import Bound

LEAST_SAVING = 0.1


@dataclass(frozen=True)
class Span:
    """Cells lo, lo + 1, ... hi - 1 of an axis."""

    lo: int
    hi: int

    def __len__(self) -> int:
        return max(0, self.hi - self.lo)

    def within(self, other: Span) -> bool:
        return other.lo <= self.lo and self.hi <= other.hi

    def common(self, other: Span) -> Span:
        """The cells of both; of two that have none in common an empty span."""
        lo = max(self.lo, other.lo)
        return Span(lo, max(lo, min(self.hi, other.hi)))

    def hull(self, other: Span) -> Span:
        return Span(min(self.lo, other.lo), max(self.hi, other.hi))


@dataclass(frozen=True)
class Slide:
    """What one layer does along one axis: a window's extent, stride and pad; a pixelwise layer is (1, 1, 0)."""

    extent: int
    stride: int
    pad: int

    @property
    def keeps_place(self) -> bool:
        """A window of stride 1 centred on its own place."""
        return self.stride == 1 and 2 * self.pad == self.extent - 1

    def needs(self, out: Span) -> Span:
        """The cells of the bottom that these cells of the top read."""
        return Span(out.lo * self.stride - self.pad, (out.hi - 1) * self.stride - self.pad + self.extent)

    def touches(self, span: Span, size: int) -> Span:
        """The cells of the top that read any of these cells of the bottom."""
        lo = -(-(span.lo + self.pad - self.extent + 1) // self.stride)
        return Span(max(0, lo), min(size, (span.hi - 1 + self.pad) // self.stride + 1))

    def clears(self, span: Span, size: int) -> Span:
        """The cells of the top that read only these cells of the bottom."""
        lo = -(-(span.lo + self.pad) // self.stride)
        return Span(max(0, lo), min(size, (span.hi - self.extent + self.pad) // self.stride + 1))


@dataclass(frozen=True)
class Level:
    """One layer of the chain along one axis; `size` is the whole top, `template` the template's."""

    slide: Slide
    size: int
    touched: Span
    clear: Span
    plane: Span
    template: int = 0


@dataclass(frozen=True)
class Chain:
    """Positions of layers in the graph, the blob they start from, and what each does along height and width."""

    layers: tuple[int, ...]
    source: Blob
    slides: tuple[tuple[Slide, Slide], ...]
    tops: tuple[Blob, ...]


@dataclass(frozen=True)
class Plan:
    """For the first `len(rows)` layers of a chain: levels along height and along width."""

    rows: tuple[Level, ...]
    columns: tuple[Level, ...]


def halo_elision(bound: Bound) -> tuple[Chain, ...]:
    """The chains of a net; how far each is used depends on the size of the picture (`plan`)."""
    sources = {t for spec, layer in bound if spec.type == "Input" or layer.is_data for t in spec.tops}
    readers = bound.graph.readers()
    place = {id(spec): number for number, spec in enumerate(bound.graph.layers)}
    chains = []
    for number, (spec, layer) in enumerate(bound):
        window = layer.sliding()
        if spec.type != "Convolution" or window is None or len(spec.bottoms) != 1 or spec.bottoms[0] not in sources:
            continue
        if all(p > e for p, e in zip(window.pad, window.extent(), strict=True)):
            chains.append(make_chain(bound, longest(bound, readers, place, number)))
    return tuple(chains)


def longest(
    bound: Bound, readers: Mapping[Blob, Sequence[LayerSpec]], place: Mapping[int, int], number: int
) -> list[int]:
    """The layer and the longest run of layers behind it that slide a window or are pixelwise."""
    tails = []
    for spec in readers[bound.graph.layers[number].tops[0]]:
        follower = place[id(spec)]
        layer = bound.layers[follower]
        if len(spec.bottoms) == len(spec.tops) == 1 and (layer.pixelwise() or layer.sliding() is not None):
            tails.append(longest(bound, readers, place, follower))
    return [number, *max(tails, key=len, default=[])]


def make_chain(bound: Bound, members: Sequence[int]) -> Chain:
    slides = [axis_slides(bound.layers[n]) for n in members]
    tops = tuple(bound.graph.layers[n].tops[0] for n in members)
    return Chain(tuple(members), bound.graph.layers[members[0]].bottoms[0], tuple(slides), tops)


def axis_slides(layer: Layer) -> tuple[Slide, Slide]:
    window = layer.sliding() or Window((1, 1), (1, 1), (0, 0), (1, 1))
    first, second = zip(window.extent(), window.stride, window.pad, strict=True)
    return Slide(*first), Slide(*second)


def plan(chain: Chain, picture: tuple[int, int], sizes: Sequence[tuple[int, int]], macs: Sequence[int]) -> Plan | None:
    """The longest worthwhile plan for a picture of this height and width.

    `sizes` are heights and widths of the tops, `macs` the multiply-accumulates of each whole layer.
    """
    for length in range(len(sizes), 1, -1):
        axes = [
            axis_levels([s[axis] for s in chain.slides[:length]], picture[axis], [s[axis] for s in sizes[:length]])
            for axis in (0, 1)
        ]
        if axes[0] is None or axes[1] is None:
            continue
        found = Plan(tuple(axes[0]), tuple(axes[1]))
        if saving(found, macs) >= LEAST_SAVING:
            return found
    return None


def saving(found: Plan, macs: Sequence[int]) -> float:
    """The share of the chain's multiply-accumulates that planes and template leave out."""
    spent = 0.0
    for row, column, work in zip(found.rows, found.columns, macs, strict=False):
        area = len(row.plane) * len(column.plane) + row.template * column.template
        spent += work * area / (row.size * column.size)
    whole = sum(macs[: len(found.rows)])
    return 1 - spent / whole if whole else 0.0


def axis_levels(slides: Sequence[Slide], picture: int, sizes: Sequence[int]) -> list[Level] | None:
    """The levels along one axis, or None where a plane would reach the frame."""
    touched, clear = [], []
    for i, (slide, size) in enumerate(zip(slides, sizes, strict=True)):
        touched.append(slide.touches(touched[-1] if i else Span(0, picture), size))
        clear.append(slide.clears(clear[-1], size) if i else Span(0, size))
    planes = axis_planes(slides, touched)
    if not all(len(p) and p.within(c) for p, c in zip(planes, clear, strict=True)):
        return None
    templates = axis_templates(slides, sizes, clear)
    if templates is None:
        return None
    rows = zip(slides, sizes, touched, clear, planes, templates, strict=True)
    return [Level(*row) for row in rows]


def axis_planes(slides: Sequence[Slide], touched: Sequence[Span]) -> list[Span]:
    """What each layer computes, from the last one back.

    Layers that keep their place share one plane. A strided layer before them gives what is touched, which is then
    continued by its constant; the first convolution, cheap on few channels, computes the whole plane.
    """
    planes = list(touched)
    last = len(slides) - 1
    while last >= 0:
        first = last
        while first > 0 and slides[first].keeps_place:
            first -= 1
        common = slides[last + 1].needs(planes[last + 1]) if last + 1 < len(slides) else touched[last]
        for i in range(first + 1, last + 1):
            common = common.hull(Span(touched[i].lo - slides[i].pad, touched[i].hi + slides[i].pad))
        planes[first + 1 : last + 1] = [common] * (last - first)
        planes[first] = common if first in (0, last) else touched[first]
        last = first - 1
    return planes


def axis_templates(slides: Sequence[Slide], sizes: Sequence[int], clear: Sequence[Span]) -> list[int] | None:
    """Sizes of the template: as many whole strides smaller as leave every level one constant cell between its edges."""
    cumulative = [prod(s.stride for s in slides[1 : i + 1]) for i in range(len(slides))]
    total = cumulative[-1]
    spare = min(((len(c) - 1) * k) // total for c, k in zip(clear, cumulative, strict=True))
    if spare < 0:
        return None
    return [size - spare * total // k for size, k in zip(sizes, cumulative, strict=True)]


def top_sizes(shapes: Sequence[Shape]) -> list[tuple[int, int]]:
    """Height and width of each shape N x C x H x W."""
    return [(shape[2], shape[3]) for shape in shapes]
