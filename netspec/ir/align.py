"""Which layer of one graph is which of another.

1. Layers of the same name and type are the same.
2. Of the rest, two whose surroundings are the same far around, and those of no others; then a pair next to layers
   already paired, or that makes the same blob, when it is like enough (`likeness`), the likest first.
3. Then layers of the same name, whatever their types; and layers without bottoms whose first tops have one name.
4. Where names say nothing: layers whose surroundings of types and settings look the same, in file order; then 2 again.
5. Of the pairs, as few as possible count as moved; the others stand in the same order in both files.

The cost is near linear in the number of layers. Swapping the graphs swaps the pairs and changes nothing else.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from netspec.ir.canonical import Value, canonical, fields
from netspec.ir.graph import Graph

# Weights of likeness: same readers, same sources, same settings, similar name, similar place in the file, same blob.
# Readers outweigh sources: what a layer is for is told by who reads it.
READERS, SOURCES, FIELDS, NAME, PLACE, BLOB = 0.28, 0.25, 0.13, 0.1, 0.08, 0.16
ENOUGH = 0.48
# Neighbours looked at per layer, so that a blob with thousands of readers stays cheap.
MOST = 24
FAR = 8


class Side:
    """One graph, prepared: settings, sources and readers of each layer by position."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        made = {top: n for n, spec in enumerate(graph.layers) for top in spec.tops}
        self.sources = [[made[b] for b in spec.bottoms] for spec in graph.layers]
        self.readers: list[list[int]] = [[] for _ in graph.layers]
        for n, sources in enumerate(self.sources):
            for source in sources:
                self.readers[source].append(n)
        read = {bottom for spec in graph.layers for bottom in spec.bottoms}
        self.protos = [canonical(spec.proto, any(t in read for t in spec.tops)) for spec in graph.layers]
        self.fields: list[dict[str, Value]] = [fields(proto) for proto in self.protos]
        self.names = [spec.name for spec in graph.layers]
        self.types = [spec.type for spec in graph.layers]

    def first_top(self, n: int) -> str:
        """The name of a layer's first top; empty if it has none."""
        return self.graph.layers[n].tops[0].name if self.graph.layers[n].tops else ""

    def key(self) -> tuple[object, ...]:
        """Tells apart any two graphs that could be aligned differently from either end."""
        wiring = [[b.name for b in spec.bottoms] for spec in self.graph.layers]
        return len(self.names), self.names, self.types, wiring


@dataclass(frozen=True)
class Alignment:
    """`pairs`: position in the first graph -> in the second; `moved`: those of the first that changed their order."""

    pairs: dict[int, int]
    moved: frozenset[int]


def align(a: Side, b: Side) -> Alignment:
    """Pairs the layers of two graphs, always from the same end, so that order does not matter."""
    if a.key() > b.key():
        back = align(b, a)
        return Alignment({j: i for i, j in sorted(back.pairs.items())}, frozenset(back.pairs[i] for i in back.moved))
    matching = _Matching(a, b)
    matching.by_key(lambda side, n: (side.names[n], side.types[n]))
    matching.by_surroundings(FAR, True, only=True)
    matching.spread(matching.same_blobs())
    matching.by_key(lambda side, n: side.names[n])
    matching.by_key(lambda side, n: side.first_top(n) if not side.sources[n] else (id(side), n))
    matching.spread()
    for radius, settings in ((3, True), (2, True), (1, True), (3, False), (2, False), (1, False)):
        matching.by_surroundings(radius, settings)
        matching.spread()
    pairs = dict(sorted(matching.there.items()))
    return Alignment(pairs, frozenset(pairs) - _in_order(pairs))


class _Matching:
    """The pairs found so far, and a queue of pairs that their neighbours suggest."""

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        self.there: dict[int, int] = {}
        self.back: dict[int, int] = {}
        self.fresh: list[tuple[int, int]] = []

    def pair(self, i: int, j: int) -> None:
        self.there[i], self.back[j] = j, i
        self.fresh.append((i, j))

    def rest(self, side: Side) -> list[int]:
        """Positions not paired yet."""
        done = self.there if side is self.a else self.back
        return [n for n in range(len(side.names)) if n not in done]

    def by_key(self, key: Callable[[Side, int], Hashable], alike: bool = False, only: bool = False) -> None:
        """Pairs layers of equal key in file order; with `alike` only keys as frequent on both sides, `only` once."""
        groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for which, side in enumerate((self.a, self.b)):
            for n in self.rest(side):
                groups[key(side, n)][which].append(n)
        for left, right in groups.values():
            if len(left) == len(right) == 1 or not only and (not alike or len(left) == len(right)):
                for i, j in zip(left, right, strict=False):
                    self.pair(i, j)

    def by_surroundings(self, radius: int, settings: bool, only: bool = False) -> None:
        """Pairs layers whose neighbours within `radius` look the same; paired neighbours must be each other's."""
        if len(self.there) in (len(self.a.names), len(self.b.names)):
            return
        labels = {id(side): self.labels(side, radius, settings) for side in (self.a, self.b)}
        self.by_key(lambda side, n: labels[id(side)][n], alike=True, only=only)

    def labels(self, side: Side, radius: int, settings: bool) -> list[int]:
        def start(n: int) -> Hashable:
            i = n if side is self.a else self.back.get(n)
            if i is not None and i in self.there:
                return i
            return side.types[n], frozenset(side.fields[n].items()) if settings else None

        labels = [hash(start(n)) for n in range(len(side.names))]
        for _ in range(radius):
            labels = [
                hash(
                    (
                        labels[n],
                        tuple(labels[s] for s in side.sources[n][:MOST]),
                        tuple(sorted(labels[r] for r in side.readers[n][:MOST])),
                    )
                )
                for n in range(len(labels))
            ]
        return labels

    def same_blobs(self) -> list[tuple[int, int]]:
        """Unpaired layers of one type whose first tops have one name, where that name is the only one."""
        found: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for which, side in enumerate((self.a, self.b)):
            for n in self.rest(side):
                found[side.types[n], side.first_top(n)][which].append(n)
        return [(left[0], right[0]) for left, right in found.values() if len(left) == len(right) == 1]

    def spread(self, suggested: Iterable[tuple[int, int]] = ()) -> None:
        """Pairs what is suggested or stands beside pairs, the likest first, until nothing is like enough."""
        queue: list[tuple[float, int, int, int, int]] = []
        for i, j in suggested:
            self.push(queue, i, j)
        while self.fresh or queue:
            for p, q in self.fresh:
                for i, j in self.suggested(p, q):
                    self.push(queue, i, j)
            self.fresh.clear()
            if queue:
                score, _, _, i, j = heapq.heappop(queue)
                if i in self.there or j in self.back:
                    continue
                now = self.likeness(i, j)
                if now >= -score - 1e-9:
                    self.pair(i, j)
                else:
                    self.push(queue, i, j)

    def push(self, queue: list[tuple[float, int, int, int, int]], i: int, j: int) -> None:
        score = self.likeness(i, j)
        if score >= ENOUGH:
            heapq.heappush(queue, (-score, min(i, j), max(i, j), i, j))

    def suggested(self, p: int, q: int) -> Iterable[tuple[int, int]]:
        """Unpaired layers of one type at the same side of a pair."""
        for near_a, near_b in ((self.a.readers[p], self.b.readers[q]), (self.a.sources[p], self.b.sources[q])):
            right = [j for j in near_b if j not in self.back][:MOST]
            left = [i for i in near_a if i not in self.there][:MOST] if right else []
            yield from ((i, j) for i in left for j in right if self.a.types[i] == self.b.types[j])

    def likeness(self, i: int, j: int) -> float:
        """0 to 1: how sure it is that two layers of one type are the same."""
        a, b = self.a, self.b
        return (
            READERS * self.same_readers(a.readers[i][:MOST], b.readers[j][:MOST])
            + SOURCES * self.same_sources(a.sources[i][:MOST], b.sources[j][:MOST])
            + FIELDS * same_fields(a.fields[i], b.fields[j])
            + NAME * similar(a.names[i], b.names[j])
            + BLOB * (a.first_top(i) == b.first_top(j))
            + PLACE * (1 - abs(i / len(a.names) - j / len(b.names)))
        )

    def same_readers(self, left: list[int], right: list[int]) -> float:
        """The share of readers that are pairs; unpaired ones of one type count half."""
        if not left or not right:
            return float(not left and not right)
        ours = Counter(self.there[n] for n in left if n in self.there)
        pairs = sum((ours & Counter(n for n in right if n in self.back)).values())
        types = Counter(self.a.types[n] for n in left if n not in self.there)
        open_ = sum((types & Counter(self.b.types[n] for n in right if n not in self.back)).values())
        return (pairs + open_ / 2) / max(len(left), len(right))

    def same_sources(self, left: list[int], right: list[int]) -> float:
        """As for readers, bottom by bottom."""
        if not left or not right:
            return float(not left and not right)
        score = 0.0
        for m, n in zip(left, right, strict=False):
            if m in self.there:
                score += self.there[m] == n
            elif n not in self.back:
                score += (self.a.types[m] == self.b.types[n]) / 2
        return score / max(len(left), len(right))


def same_fields(a: dict[str, Value], b: dict[str, Value]) -> float:
    """The share of settings that agree."""
    keys = a.keys() | b.keys()
    return sum(k in a and k in b and a[k] == b[k] for k in keys) / len(keys) if keys else 1.0


def similar(a: str, b: str) -> float:
    """The share of a name that two names begin and end alike."""
    n = min(len(a), len(b))
    start = next((k for k in range(n) if a[k] != b[k]), n)
    end = next((k for k in range(n - start) if a[-1 - k] != b[-1 - k]), n - start)
    return (start + end) / max(len(a), len(b), 1)


def _in_order(pairs: dict[int, int]) -> set[int]:
    """The longest run of pairs that stand in the same order in both files (patience sorting)."""
    piles: list[int] = []
    owners: list[int] = []
    before: dict[int, int | None] = {}
    for i, j in pairs.items():
        at = bisect_left(piles, j)
        before[i] = owners[at - 1] if at else None
        piles[at : at + 1] = [j]
        owners[at : at + 1] = [i]
    kept: set[int] = set()
    i = owners[-1] if owners else None
    while i is not None:
        kept.add(i)
        i = before[i]
    return kept
