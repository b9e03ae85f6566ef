"""Repeated blocks of a picture: parts of equal structure that one value enters and one value leaves.

1. A part ends where branches join: it is all between that box and the last box that every way to it passes. None of its
   boxes but the last is read from outside.
2. Also a run of boxes without branches is a part, cut after pooling.
3. Parts of two boxes or more, runs of three or more, whose types and wiring are equal at least twice are blocks; of
   those that overlap, the one that ends first.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from netspec.draw.picture import Block, Wire
from netspec.draw.theme import kind_of

MOST = 60
"""Boxes in one block."""


class Flow:
    """Who reads whom, by positions; only wires that go forward."""

    def __init__(self, boxes: int, wires: Iterable[Wire]) -> None:
        self.above: list[list[int]] = [[] for _ in range(boxes)]
        self.below: list[list[int]] = [[] for _ in range(boxes)]
        for source, target in dict.fromkeys((w.source, w.target) for w in wires if w.source < w.target):
            self.above[target].append(source)
            self.below[source].append(target)

    def last_common(self) -> list[int]:
        """The last box that all ways to each box pass; -1 for a box that is reached from several starts."""
        common = [-1] * len(self.above)
        depth = [0] * len(self.above)
        for n, above in enumerate(self.above):
            if not above:
                continue
            meet = above[0]
            for other in above[1:]:
                while meet != other and min(meet, other) >= 0:
                    if depth[meet] >= depth[other]:
                        meet = common[meet]
                    else:
                        other = common[other]
                meet = min(meet, other)
            common[n], depth[n] = meet, depth[meet] + 1 if meet >= 0 else 0
        return common

    def between(self, start: int, end: int) -> list[int] | None:
        """All boxes from behind `start` to `end`; None if one of them is read, or reads, elsewhere."""
        inside, todo = {end}, [end]
        while todo and len(inside) <= MOST:
            new = [m for m in self.above[todo.pop()] if m != start and m not in inside]
            inside.update(new)
            todo += new
        closed = all(m in inside for n in inside if n != end for m in self.below[n])
        return sorted(inside) if closed and len(inside) <= MOST and min(inside) > start else None


def repeated(types: Sequence[tuple[str, ...]], names: Sequence[str], wires: Sequence[Wire]) -> tuple[Block, ...]:
    """The blocks of a picture, in order, without overlap."""
    flow = Flow(len(types), wires)
    parts: list[list[int]] = []
    taken: set[int] = set()
    for found, least in ((joined(flow), 2), (runs(flow, types), 3)):
        for part in often(found, types, flow, least):
            if not taken.intersection(part):
                parts.append(part)
                taken.update(part)
    return numbered(sorted(parts), types, names, flow)


def often(parts: Sequence[list[int]], types: Sequence[tuple[str, ...]], flow: Flow, least: int) -> list[list[int]]:
    """Those parts of so many boxes or more that stand there twice or more, in the order of their ends."""
    shapes = [shape_of(part, types, flow) for part in parts]
    counts = Counter(shapes)
    return [part for part, shape in zip(parts, shapes, strict=True) if len(part) >= least and counts[shape] > 1]


def joined(flow: Flow) -> list[list[int]]:
    """Parts that end where branches join."""
    ends = [(n, start) for n, start in enumerate(flow.last_common()) if start >= 0 and len(flow.above[n]) > 1]
    return [part for end, start in ends if (part := flow.between(start, end))]


def runs(flow: Flow, types: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """Runs without branches, cut after pooling."""
    out: list[list[int]] = []
    where: dict[int, list[int]] = {}
    for n in range(len(types)):
        above = flow.above[n]
        follows = len(above) == 1 and len(flow.below[above[0]]) == 1 and above[0] in where
        if not above or kind_of(types[n][0]) in ("loss", "data"):
            continue
        if follows and kind_of(types[above[0]][0]) != "pooling":
            where[n] = where[above[0]]
            where[n].append(n)
        else:
            where[n] = [n]
            out.append(where[n])
    return out


def numbered(
    parts: Sequence[Sequence[int]], types: Sequence[tuple[str, ...]], names: Sequence[str], flow: Flow
) -> tuple[Block, ...]:
    """The parts as blocks, those of one structure with one number."""
    numbers: dict[object, int] = {}
    return tuple(
        Block(
            block_title([names[n] for n in part]),
            block_note(part, types),
            tuple(part),
            numbers.setdefault(shape_of(part, types, flow), len(numbers)),
        )
        for part in parts
    )


def shape_of(part: Sequence[int], types: Sequence[tuple[str, ...]], flow: Flow) -> object:
    """Types and wiring, the same for parts that differ in names and settings alone."""
    place = {n: i for i, n in enumerate(part)}
    return tuple((types[n], tuple(sorted(place.get(m, -1) for m in flow.above[n]))) for n in part)


def block_title(names: Sequence[str]) -> str:
    """What the names have in front in common, if that is a word; else the first and the last."""
    common = os.path.commonprefix(list(names)).rstrip("/_-.: ")
    whole = all(re.match(r"[/_\-.: ]|$", name[len(common) :]) for name in names)
    return common if len(common) > 2 and whole else f"{names[0]} … {names[-1]}"


def block_note(part: Sequence[int], types: Sequence[tuple[str, ...]]) -> str:
    """`7 layers: 5 Convolution, Pooling, Concat`."""
    counts = Counter(types[n][0] for n in part)
    listed = ", ".join(f"{k} {t}" if k > 1 else t for t, k in counts.most_common())
    return f"{sum(len(types[n]) for n in part)} layers: {listed}"
