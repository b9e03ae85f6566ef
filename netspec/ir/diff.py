"""What changed from one graph to another, layer by layer.

A change's `kind` says what `old` and `new` are:

    net      a setting of the net itself (`field`): its name, phase, level, stages, force_backward, debug_info
    removed  `old` is the layer of the first graph
    added    `new` is the layer of the second graph
    moved    the order in the file alone; `old` and `new` are positions
    renamed  `old` and `new` are the layer's names
    changed  a setting (`field`, by path): values as they take effect, defaults included, equivalent spellings equal;
             None is not given and without a default
    rewired  the bottoms read other values (`Wire`); `because` names the added and removed layers that explain it
    tops     the blobs the layer makes have other names, or it makes more or fewer; `because` names the layers whose
             blobs a layer in place overwrites and so follows

Wiring is compared by value: a blob renamed together with its readers is one `tops` of its maker. Applying all
changes to the first graph gives the second (`netspec.ir.apply`), and swapping the graphs mirrors each change.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from netspec.ir.align import Alignment, Side, align
from netspec.ir.canonical import default
from netspec.ir.graph import AUTOMATIC, Blob, Graph, LayerSpec

KINDS = ("net", "removed", "added", "moved", "renamed", "changed", "rewired", "tops")
Position = int | None
# Layers looked at to explain one rewiring.
MOST_STEPS = 64


@dataclass(frozen=True)
class Wire:
    """A value as a reader names it, and the layer that makes it."""

    blob: str
    layer: str


@dataclass(frozen=True)
class Change:
    """One difference; `names` and `at` are the layer's name and position in the first and in the second graph."""

    kind: str
    names: tuple[str, str]
    at: tuple[Position, Position]
    field: str = ""
    old: Any = None
    new: Any = None
    because: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        """The layer's name, the newer one if it has two."""
        return self.names[1] or self.names[0]

    def mirrored(self) -> Change:
        """The same difference seen from the second graph."""
        kind = {"added": "removed", "removed": "added"}.get(self.kind, self.kind)
        return replace(self, kind=kind, names=self.names[::-1], at=self.at[::-1], old=self.new, new=self.old)


@dataclass(frozen=True)
class Comparison:
    """Two graphs, their layers side by side in the order of the second (`rows` of positions), and the changes."""

    a: Graph
    b: Graph
    rows: tuple[tuple[Position, Position], ...]
    changes: tuple[Change, ...]


def diff(a: Graph, b: Graph, ignore: Sequence[str] = (), dataflow: bool = False) -> list[Change]:
    """The changes from a to b, in the order of b; empty if the graphs mean the same.

    `ignore`: fields (`lr_mult`, `python_param.param_str`, `*_filler`) or kinds left out. `dataflow`: names of blobs
    are left out, so that a layer in place equals one that is not.
    """
    return list(compare(a, b, ignore, dataflow).changes)


def compare(a: Graph, b: Graph, ignore: Sequence[str] = (), dataflow: bool = False) -> Comparison:
    """As `diff`, together with how the layers were paired."""
    left, right = Side(a), Side(b)
    alignment = align(left, right)
    rows = tuple(side_by_side(alignment, len(a.layers), len(b.layers)))
    ignore = (*ignore, "tops") if dataflow else ignore
    changes = [*_net_changes(a, b), *_Comparer(left, right, alignment).changes(rows)]
    return Comparison(a, b, rows, tuple(c for c in changes if not ignored(c, ignore)))


def explained(comparison: Comparison) -> list[Change]:
    """Rewirings and tops that follow from what happened to other layers, where nothing else happened to their own."""
    own = {change.at for change in comparison.changes if not change.because}
    return [c for c in comparison.changes if c.because and c.at not in own]


def ignored(change: Change, patterns: Sequence[str]) -> bool:
    """Whether a pattern is the change's kind, or its field's path, a message on the way, or its last name."""
    path = re.sub(r"\[\d+\]", "", change.field)
    parts = path.split(".")
    names = {change.kind, parts[-1], *(".".join(parts[: n + 1]) for n in range(len(parts)))}
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names if name)


def side_by_side(alignment: Alignment, n_a: int, n_b: int) -> Iterator[tuple[Position, Position]]:
    """Every layer of both graphs in the order of the second; between two that stayed, the removed ones come first."""
    back = {j: i for i, j in alignment.pairs.items()}
    removed = deque(i for i in range(n_a) if i not in alignment.pairs)
    waiting: list[tuple[Position, Position]] = []
    for j in range(n_b):
        i = back.get(j)
        if i is None or i in alignment.moved:
            waiting.append((i, j))
            continue
        while removed and removed[0] < i:
            yield removed.popleft(), None
        yield from waiting
        waiting.clear()
        yield i, j
    yield from ((i, None) for i in removed)
    yield from waiting


def net_settings(graph: Graph) -> dict[str, Any]:
    """What a graph says besides its layers."""
    state = graph.state
    return {
        "name": graph.name,
        "phase": state.phase,
        "level": state.level,
        "stages": state.stages,
        "force_backward": graph.force_backward,
        "debug_info": graph.debug_info,
    }


def _net_changes(a: Graph, b: Graph) -> Iterator[Change]:
    ours, theirs = net_settings(a), net_settings(b)
    for name in ours:
        if ours[name] != theirs[name]:
            yield Change("net", ("", ""), (None, None), name, ours[name], theirs[name])


def own_tops(spec: LayerSpec) -> tuple[Blob, ...]:
    """The tops that are written; those a loss makes by itself are not."""
    return tuple(t for t in spec.tops if t.name != AUTOMATIC)


def match_tops(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Which top of a layer is which after a change: by name, then the rest in order."""
    pairs = {i: new.index(name) for i, name in enumerate(old) if name in new}
    rest = (j for j in range(len(new)) if j not in pairs.values())
    for i in range(len(old)):
        if i not in pairs:
            j = next(rest, None)
            if j is not None:
                pairs[i] = j
    return pairs


def in_place(spec: LayerSpec) -> bool:
    """Whether every top overwrites the bottom at its place."""
    return [t.name for t in own_tops(spec)] == [b.name for b in spec.bottoms[: len(spec.tops)]] != []


class _Comparer:
    """The changes of every pair of layers."""

    def __init__(self, a: Side, b: Side, alignment: Alignment) -> None:
        self.a, self.b, self.alignment = a, b, alignment
        self.made_a, self.made_b = a.graph.writers(), b.graph.writers()
        self.at_a, self.at_b = (_positions(side.graph) for side in (a, b))
        self.paired_b = set(alignment.pairs.values())
        self.value = self._values()

    def _values(self) -> dict[Blob, Blob]:
        """Which value of b is which of a."""
        out: dict[Blob, Blob] = {}
        for i, j in self.alignment.pairs.items():
            old, new = own_tops(self.a.graph.layers[i]), own_tops(self.b.graph.layers[j])
            tops = match_tops([t.name for t in old], [t.name for t in new])
            out.update((old[m], new[n]) for m, n in tops.items())
        return out

    def changes(self, rows: Sequence[tuple[Position, Position]]) -> Iterator[Change]:
        for i, j in rows:
            if j is None:
                assert i is not None
                spec = self.a.graph.layers[i]
                yield Change("removed", (spec.name, ""), (i, None), old=replace(spec, proto=self.a.protos[i]))
            elif i is None:
                spec = self.b.graph.layers[j]
                yield Change("added", ("", spec.name), (None, j), new=replace(spec, proto=self.b.protos[j]))
            else:
                yield from self.pair(i, j)

    def pair(self, i: int, j: int) -> Iterator[Change]:
        a, b = self.a.graph.layers[i], self.b.graph.layers[j]
        change = Change("", (a.name, b.name), (i, j))
        if i in self.alignment.moved:
            yield replace(change, kind="moved", old=i, new=j)
        if a.name != b.name:
            yield replace(change, kind="renamed", old=a.name, new=b.name)
        if a.type != b.type:
            yield replace(change, kind="changed", field="type", old=a.type, new=b.type)
        ours, theirs = self.a.fields[i], self.b.fields[j]
        for path in sorted(ours.keys() | theirs.keys()):
            own = "_param." in path and a.type != b.type
            implied = None if own else default(path, a.type)
            old, new = ours.get(path, implied), theirs.get(path, implied)
            if old != new:
                yield replace(change, kind="changed", field=path, old=old, new=new)
        if tuple(self.value.get(v) for v in a.bottoms) != b.bottoms:
            old, new = self.wires(a, self.made_a), self.wires(b, self.made_b)
            yield replace(change, kind="rewired", old=old, new=new, because=self.cause(a, b))
        tops = tuple(tuple(t.name for t in own_tops(spec)) for spec in (a, b))
        if tops[0] != tops[1]:
            yield replace(change, kind="tops", old=tops[0], new=tops[1], because=self.overwritten(a, b))

    def overwritten(self, a: LayerSpec, b: LayerSpec) -> tuple[str, ...]:
        """The layers, by both their names, whose blobs a layer overwrites; empty unless it is in place in both."""
        if not (in_place(a) and in_place(b)):
            return ()
        names = {self.made_a[v].name for v in a.bottoms} | {self.made_b[v].name for v in b.bottoms}
        return tuple(sorted(names))

    def wires(self, spec: LayerSpec, made: dict[Blob, LayerSpec]) -> tuple[Wire, ...]:
        return tuple(Wire(v.name, made[v].name) for v in spec.bottoms)

    def cause(self, a: LayerSpec, b: LayerSpec) -> tuple[str, ...]:
        """The added and removed layers between what each bottom read and what it reads; empty if they do not tell."""
        if len(a.bottoms) != len(b.bottoms):
            return ()
        names: dict[str, None] = {}
        for old, new in zip(a.bottoms, b.bottoms, strict=True):
            if self.value.get(old) == new:
                continue
            removed, ours = self.upwards(old, self.made_a, self.at_a, self.alignment.pairs)
            added, theirs = self.upwards(new, self.made_b, self.at_b, self.paired_b)
            if not (removed or added) or not {self.value.get(v) for v in ours} & theirs:
                return ()
            names.update(dict.fromkeys((*removed, *added)))
        return tuple(sorted(names))

    def upwards(self, start: Blob, made: Any, at: dict[Blob, int], paired: Any) -> tuple[list[str], set[Blob]]:
        """Unpaired layers above a value, and the values of paired ones that they start from."""
        todo, found, names = [start], set(), []
        seen = {start}
        while todo and len(names) < MOST_STEPS:
            value = todo.pop()
            if at[value] in paired:
                found.add(value)
                continue
            spec = made[value]
            names.append(spec.name)
            todo += [v for v in spec.bottoms if v not in seen]
            seen.update(spec.bottoms)
        return names, found


def _positions(graph: Graph) -> dict[Blob, int]:
    return {top: n for n, spec in enumerate(graph.layers) for top in spec.tops}
