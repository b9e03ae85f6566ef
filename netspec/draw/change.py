"""Comparison -> Picture: both nets in one, in the order of the second; what was added, removed, changed is coloured.

1. A box is a row of the comparison; layers in place join the box above as in a net, where the same happened to both.
2. A changed box bears its changes, old and new. What only follows from changes of others is not one.
3. A wire that only the first net has is removed, one that only the second has is added.
4. Boxes to which nothing happened are blocks, as large as they can be with one way in and one way out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from netspec.draw.blocks import Flow, block_title
from netspec.draw.detail import Known, detail
from netspec.draw.net import box, joins, title_of
from netspec.draw.picture import Block, Box, Line, Picture, Wire, plain, text, wrapped
from netspec.draw.theme import STATUSES, cut, kind_of
from netspec.ir.align import Side
from netspec.ir.diff import Change, Comparison, Position, explained
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.ir.words import field_label, shown, value

Key = tuple[Position, Position]
LISTED = 6
"""Changes that a box lists."""


def draw_diff(comparison: Comparison) -> Picture:
    """Both nets in one picture."""
    return _Union(comparison).picture()


class _Union:
    def __init__(self, comparison: Comparison) -> None:
        self.comparison, self.rows = comparison, comparison.rows
        self.sides = (Side(comparison.a), Side(comparison.b))
        folded = {id(c) for c in explained(comparison)}
        self.changes: dict[Key, list[Change]] = defaultdict(list)
        for change in comparison.changes:
            if id(change) not in folded and change.kind != "net":
                self.changes[change.at].append(change)
        self.row_of = [{row[side]: n for n, row in enumerate(self.rows)} for side in (0, 1)]
        self.makers = [
            {top: row_of[i] for i, spec in enumerate(graph.layers) for top in spec.tops}
            for graph, row_of in zip(self.graphs, self.row_of, strict=True)
        ]
        self.groups = self.grouped()
        self.inside = {n: g for g, group in enumerate(self.groups) for n in group}

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        return self.comparison.a, self.comparison.b

    def picture(self) -> Picture:
        boxes = tuple(self.box(group) for group in self.groups)
        wires = self.wires()
        titles = list(dict.fromkeys(title_of(graph) for graph in self.graphs))
        if len(titles) == 1:
            titles = list(dict.fromkeys(shown(graph.file) for graph in self.graphs))
        seen = {b.status for b in boxes} | {w.status for w in wires}
        layers = {status: sum(len(b.layers) for b in boxes if b.status == status) for status in STATUSES}
        counts = [f"{n} {STATUSES[status]}" for status, n in layers.items() if n]
        note = f"{len(self.graphs[0].layers)} → {len(self.graphs[1].layers)} layers"
        return Picture(
            " → ".join(short_names(titles)),
            f"{note} · {', '.join(counts) or 'the same'}",
            boxes,
            wires,
            unchanged(boxes, wires),
            tuple(status for status in STATUSES if status in seen),
            {"phase": self.graphs[1].phase, "file": shown(self.graphs[1].file)},
        )

    def spec(self, row: int) -> LayerSpec:
        """A row's layer, of the second net where it has it."""
        i, j = self.rows[row]
        return self.graphs[1].layers[j] if j is not None else self.graphs[0].layers[i or 0]

    def status(self, row: int) -> str:
        kinds = {c.kind for c in self.changes.get(self.rows[row], [])}
        for status, of in (("added", {"added"}), ("removed", {"removed"}), ("changed", {"changed", "rewired", "tops"})):
            if kinds & of and kinds - {"renamed", "tops"}:
                return status
        return "moved" if kinds else "same"

    def grouped(self) -> list[list[int]]:
        """Rows, those of one box together."""
        readers = [graph.readers() for graph in self.graphs]
        groups: list[list[int]] = []
        mine: dict[int, list[int]] = {}
        for n, (_, j) in enumerate(self.rows):
            side, spec = (0 if j is None else 1), self.spec(n)
            above = self.makers[side][spec.bottoms[0]] if spec.bottoms else -1
            alike = (
                above in mine and self.status(above) == self.status(n) and self.status(n) not in ("changed", "moved")
            )
            if alike and mine[above][-1] == above and joins(spec, self.spec(above), readers[side]):
                mine[n] = mine[above]
                mine[n].append(n)
            else:
                mine[n] = [n]
                groups.append(mine[n])
        return groups

    def box(self, group: Sequence[int]) -> Box:
        """The box of some rows: as in its own net, or with what changed."""
        row = self.rows[group[0]]
        side = 0 if row[1] is None else 1
        graph = self.graphs[side]
        places = [n for n in (self.rows[g][side] for g in group) if n is not None]
        known = Known.of(graph, None)
        plain_box = box(graph, self.sides[side], places, known)
        status, spec = self.status(group[0]), self.spec(group[0])
        layers = tuple(detail(graph, n, self.sides[side].fields[n], known) for n in places)
        changes = self.changes.get(row, [])
        lines = plain_box.lines
        if status in ("changed", "moved"):
            told = list(told_of(changes))
            layers = ({**layers[0], "changes": [list(t) for t in told]}, *layers[1:])
            head = [self.title(row), *(text((t, "dim")) for t in wrapped([shown(spec.type)], " + ", 30))]
            lines = (*head, *change_lines(told))
        return Box(lines, kind_of(spec.type), layers, status, plain_box.types, plain_box.settings)

    def title(self, row: Key) -> Line:
        """The layer's name, or both."""
        names = [shown(g.layers[n].name) for g, n in zip(self.graphs, row, strict=True) if n is not None]
        if len(set(names)) == 1:
            return text(cut(names[0], 40))
        return text((cut(names[0], 30), "old"), (" → ", "dim"), (cut(names[1], 30), "new"))

    def wires(self) -> tuple[Wire, ...]:
        """Those of the second net, then those that only the first has."""
        ours, theirs = (self.side_wires(side) for side in (0, 1))
        out = [Wire(*at, name, "", "same" if at in ours else "added") for at, name in theirs.items()]
        out += [Wire(*at, name, "", "removed") for at, name in ours.items() if at not in theirs]
        return tuple(out)

    def side_wires(self, side: int) -> dict[tuple[int, int], str]:
        """Which box reads which in one net, and the name of a value it reads there."""
        graph, out = self.graphs[side], {}
        for n, spec in enumerate(graph.layers):
            for bottom in spec.bottoms:
                at = self.inside[self.maker(side, bottom)], self.inside[self.row_of[side][n]]
                if at[0] != at[1]:
                    out[at] = shown(bottom.name)
        return out

    def maker(self, side: int, blob: Blob) -> int:
        return self.makers[side][blob]


def told_of(changes: Sequence[Change]) -> Iterator[tuple[str, str, str]]:
    """What changed, old, new."""
    for c in changes:
        if c.kind == "changed":
            yield field_label(c.field), value(c.old), value(c.new)
        elif c.kind == "rewired":
            yield "reads", names_text(w.blob for w in c.old), names_text(w.blob for w in c.new)
        elif c.kind == "moved":
            yield "place in the file", str(c.old + 1), str(c.new + 1)
        elif c.kind == "tops" and not c.because:
            yield "tops", names_text(c.old), names_text(c.new)


def names_text(names: Iterable[str]) -> str:
    """Names of blobs."""
    return ", ".join(map(shown, names)) or "nothing"


def change_lines(told: Sequence[tuple[str, str, str]]) -> list[Line]:
    """The changes as lines of a box."""
    said = [t for t in told if t[0] != "tops"] or list(told)
    lines = [
        text((f"{what} ", "dim"), (cut(old, 24), "old"), (" → ", "dim"), (cut(new, 24), "new"))
        for what, old, new in said
    ]
    return (
        lines if len(lines) <= LISTED else [*lines[: LISTED - 1], text((f"and {len(lines) - LISTED + 1} more", "dim"))]
    )


def short_names(titles: Sequence[str]) -> list[str]:
    """Two names without the folders they have in common."""
    common = os.path.commonprefix([t.rpartition("/")[0] + "/" for t in titles]) if len(titles) > 1 else ""
    return [t[common.rfind("/") + 1 :] for t in titles]


def unchanged(boxes: Sequence[Box], wires: Sequence[Wire]) -> tuple[Block, ...]:
    """Blocks of boxes to which nothing happened."""
    flow = Flow(len(boxes), wires)
    taken: set[int] = set()
    blocks = []
    for start in range(len(boxes)):
        part = [] if start in taken else grown(start, boxes, flow, taken)
        if len(part) > 1:
            taken.update(part)
            count = sum(len(boxes[n].layers) for n in part)
            title = block_title([plain(boxes[n].lines[0]) for n in part])
            blocks.append(Block(title, f"{count} layers the same", tuple(part), len(blocks)))
    return tuple(blocks)


def grown(start: int, boxes: Sequence[Box], flow: Flow, taken: set[int]) -> list[int]:
    """The largest part from a box on that one value enters and that is read from outside at its last box alone."""
    if len(flow.above[start]) != 1:
        return []
    entry, inside, best = flow.above[start][0], list[int](), list[int]()
    known: set[int] = {entry}
    left: dict[int, int] = {}
    for n in range(start, len(boxes)):
        if boxes[n].status != "same" or n in taken or not flow.above[n] or not known.issuperset(flow.above[n]):
            continue
        for above in flow.above[n]:
            if above in left:
                left[above] -= 1
                if not left[above]:
                    del left[above]
        inside.append(n)
        known.add(n)
        if flow.below[n]:
            left[n] = len(flow.below[n])
        if set(left) <= {n}:
            best = list(inside)
    return best
