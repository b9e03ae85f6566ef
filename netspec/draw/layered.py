"""A layered layout: every node gets a rank and a place in it, every edge the places where it passes the ranks between.

1. Ranks: integers r with r_target - r_source >= 1 that make the edges short: minimise sum (r_t - r_s); what is free
   stands near its readers. A linear program whose corners are integers.
2. Order: edges over several ranks pass a point in each; edges of one value share them. Each rank is sorted by the mean
   place of its neighbours, downwards and upwards in turn, and neighbours change places where that removes crossings.
   The order with the fewest crossings wins.
3. Places: minimise sum w |x_a - x_b| over the pieces of edges, points of long edges weighing most, so that these stand
   straight; a node with several neighbours on one side is drawn to their middle. Neighbours in a rank keep their order
   and their distance. Again a linear program.

Source: E. R. Gansner, E. Koutsofios, S. C. North, K.-P. Vo, A Technique for Drawing Directed Graphs, 1993.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SWEEPS, PATIENCE = 24, 6
# How much a piece of an edge wants to be straight, by how many of its ends are points of long edges.
STRAIGHT = (8.0, 1.5, 12.0)
MIDDLE, TIED, COMPACT = 0.7, 40.0, 1e-4


@dataclass(frozen=True)
class Edge:
    """From node to node; edges of one source and one `key` share their points."""

    source: int
    target: int
    key: str = ""


@dataclass
class Layered:
    """Of every node its rank and centre; of every edge the (rank, x) of its points, in the order of ranks."""

    rank: list[int]
    x: list[float]
    points: list[list[tuple[int, float]]]
    ranks: int


@dataclass
class _Grid:
    """Nodes and points of edges by rank: above[n] and below[n] are neighbours one rank away."""

    rank: list[int]
    width: list[float]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.above = [[] for _ in self.rank]
        self.below = [[] for _ in self.rank]

    def point(self, rank: int, width: float) -> int:
        self.rank.append(rank)
        self.width.append(width)
        self.above.append([])
        self.below.append([])
        return len(self.rank) - 1

    def join(self, a: int, b: int) -> None:
        if b not in self.below[a]:
            self.below[a].append(b)
            self.above[b].append(a)


def layered(
    widths: Sequence[float],
    edges: Sequence[Edge],
    gap: float = 26.0,
    point: float = 22.0,
    tied: tuple[int, int] | None = None,
) -> Layered:
    """Places for nodes of these widths. `gap` is the least distance between nodes, `point` the room of an edge that
    passes; `tied` are two nodes that should stand at the same x."""
    n = len(widths)
    forward = [e if e.source < e.target else Edge(e.target, e.source, e.key) for e in edges]
    grid = _Grid(ranks(n, forward), [w + gap for w in widths])
    shared: dict[tuple[int, str, int], int] = {}
    chains = [_chain(grid, edge, shared, point) for edge in forward]
    x = places(grid, order(grid), n, tied)
    points = [[(grid.rank[p], x[p]) for p in chain] for chain in chains]
    return Layered(grid.rank[:n], x[:n], points, max(grid.rank, default=-1) + 1)


def ranks(n: int, edges: Sequence[Edge]) -> list[int]:
    """The rank of each of n nodes."""
    pairs = sorted({(e.source, e.target) for e in edges if e.source != e.target})
    if not pairs:
        return [0] * n
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    cost = np.full(n, -0.4 / n)
    rows = np.repeat(np.arange(len(pairs)), 2)
    columns = np.array(pairs).ravel()
    values = np.tile([1.0, -1.0], len(pairs))
    np.add.at(cost, columns, -values)
    matrix = coo_array((values, (rows, columns)), shape=(len(pairs), n)).tocsr()
    found = linprog(cost, A_ub=matrix, b_ub=-np.ones(len(pairs)), bounds=(0, n), method="highs-ds")
    rank = [round(v) for v in found.x]
    return [r - min(rank) for r in rank]


def _chain(grid: _Grid, edge: Edge, shared: dict[tuple[int, str, int], int], width: float) -> list[int]:
    """The points of an edge, made where another edge of the value has not made them."""
    chain, last = [], edge.source
    for rank in range(grid.rank[edge.source] + 1, grid.rank[edge.target]):
        place = (edge.source, edge.key, rank)
        if place not in shared:
            shared[place] = grid.point(rank, width)
        grid.join(last, shared[place])
        last = shared[place]
        chain.append(last)
    if edge.source != edge.target:
        grid.join(last, edge.target)
    return chain


def order(grid: _Grid) -> list[list[int]]:
    """The nodes and points of each rank from left to right."""
    rows: list[list[int]] = [[] for _ in range(max(grid.rank, default=-1) + 1)]
    for n in _depth_first(grid):
        rows[grid.rank[n]].append(n)
    best, fewest, waited = [list(row) for row in rows], crossings(grid, rows), 0
    for sweep in range(SWEEPS):
        if not fewest or waited == PATIENCE:
            break
        _sweep(grid, rows, sweep % 2 == 0)
        _transpose(grid, rows)
        now = crossings(grid, rows)
        waited += 1
        if now < fewest:
            best, fewest, waited = [list(row) for row in rows], now, 0
    return best


def _depth_first(grid: _Grid) -> list[int]:
    """Every node, each followed by what it leads to."""
    seen: set[int] = set()
    out = []
    for start in sorted(range(len(grid.rank)), key=lambda n: bool(grid.above[n])):
        todo = [start]
        while todo:
            n = todo.pop()
            if n not in seen:
                seen.add(n)
                out.append(n)
                todo += reversed(grid.below[n])
    return out


def _sweep(grid: _Grid, rows: list[list[int]], down: bool) -> None:
    """Sorts each rank by the mean place of the neighbours in the one before."""
    near = grid.above if down else grid.below
    indices = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    for r in indices:
        place = {n: i for i, n in enumerate(rows[r - 1 if down else r + 1])}
        keys = {}
        for i, n in enumerate(rows[r]):
            found = [place[m] for m in near[n]]
            keys[n] = sum(found) / len(found) if found else float(i)
        rows[r].sort(key=keys.__getitem__)


def _transpose(grid: _Grid, rows: list[list[int]]) -> None:
    """Neighbours change places where that removes crossings."""
    place = {n: i for row in rows for i, n in enumerate(row)}
    for _ in range(4):
        changed = False
        for row in rows:
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                if _crossed(grid, place, a, b) > _crossed(grid, place, b, a):
                    row[i], row[i + 1] = b, a
                    place[a], place[b] = i + 1, i
                    changed = True
        if not changed:
            return


def _crossed(grid: _Grid, place: dict[int, int], left: int, right: int) -> int:
    """Crossings between the edges of two neighbours."""
    total = 0
    for near in (grid.above, grid.below):
        others = sorted(place[m] for m in near[right])
        total += sum(bisect_right(others, place[m] - 1) for m in near[left])
    return total


def crossings(grid: _Grid, rows: Sequence[Sequence[int]]) -> int:
    """All crossings."""
    total = 0
    for row, following in zip(rows, rows[1:], strict=False):
        place = {n: i for i, n in enumerate(following)}
        seen: list[int] = []
        for n in row:
            ends = sorted(place[m] for m in grid.below[n])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


class _Program:
    """minimise sum w |sum c x| + COMPACT sum x, subject to x_b - x_a >= distance."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.terms: list[tuple[float, list[tuple[int, float]]]] = []
        self.apart: list[tuple[int, int, float]] = []

    def solve(self) -> list[float]:
        from scipy.optimize import linprog
        from scipy.sparse import coo_array

        rows: list[tuple[int, int, float]] = []
        limit: list[float] = []
        for a, b, distance in self.apart:
            rows += [(len(limit), a, 1.0), (len(limit), b, -1.0)]
            limit.append(-distance)
        for k, (_, parts) in enumerate(self.terms):
            for sign in (1.0, -1.0):
                rows += [(len(limit), v, sign * c) for v, c in parts]
                rows.append((len(limit), self.n + k, -1.0))
                limit.append(0.0)
        if not limit:
            return [0.0] * self.n
        i, j, values = zip(*rows, strict=True)
        size = self.n + len(self.terms)
        cost = np.concatenate([np.full(self.n, COMPACT), [w for w, _ in self.terms]])
        matrix = coo_array((values, (i, j)), shape=(len(limit), size)).tocsr()
        found = linprog(cost, A_ub=matrix, b_ub=limit, bounds=(0, None), method="highs")
        return [float(v) for v in found.x[: self.n]]


def places(grid: _Grid, rows: Sequence[Sequence[int]], nodes: int, tied: tuple[int, int] | None) -> list[float]:
    """The x of every node and point."""
    program = _Program(len(grid.rank))
    for row in rows:
        program.apart += [(a, b, (grid.width[a] + grid.width[b]) / 2) for a, b in zip(row, row[1:], strict=False)]
    for a, below in enumerate(grid.below):
        for b in below:
            weight = STRAIGHT[(a >= nodes) + (b >= nodes)]
            program.terms.append((weight, [(a, 1.0), (b, -1.0)]))
    place = {n: i for row in rows for i, n in enumerate(row)}
    for n in range(nodes):
        for near in (grid.above[n], grid.below[n]):
            if len(near) > 1:
                first, last = (pick(near, key=place.__getitem__) for pick in (min, max))
                program.terms.append((MIDDLE, [(n, 2.0), (first, -1.0), (last, -1.0)]))
    if tied:
        program.terms.append((TIED, [(tied[0], 1.0), (tied[1], -1.0)]))
    return program.solve()
