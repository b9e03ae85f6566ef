"""A comparison for people: the second net from top to bottom, what is the same folded, fields old -> new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from netspec.cli._page import shown, text
from netspec.ir.canonical import fields
from netspec.ir.diff import Change, Comparison, Position, explained, own_tops
from netspec.ir.graph import Graph, LayerSpec
from netspec.ir.words import field_label, settings, value
from netspec.spec.param_str import entries

# From how many layers on the same changes are told once, and how many of their names are listed.
TOGETHER, LISTED = 3, 8
NAME_WIDTH = 36
Row = tuple[Text, Text]
Key = tuple[Position, Position]


def heading(a: str, b: str) -> list[Any]:
    """Both files."""
    return [text(("--- ", "red"), shown(a)), text(("+++ ", "green"), shown(b))]


def summary(comparison: Comparison, phases: Sequence[str]) -> str:
    """What changed, in numbers."""
    kinds: dict[str, set[Key]] = defaultdict(set)
    for change in comparison.changes:
        if change.kind != "net":
            kinds[change.kind].add(change.at)
    folded = {c.at for c in explained(comparison)}
    paired = set().union(*(kinds[k] for k in ("moved", "renamed", "changed", "rewired", "tops"))) - folded
    counts = {"removed": len(kinds["removed"]), "added": len(kinds["added"]), "changed": len(paired)}
    parts = [f"{n} {word}" for word, n in counts.items() if n]
    same = sum(i is not None and j is not None for i, j in comparison.rows) - len(paired)
    where = f"phase {phases[0]}: " if len(phases) == 1 else "in both phases: " if phases else ""
    layers = f"{len(comparison.a.layers)} → {len(comparison.b.layers)} layers: "
    if not comparison.changes:
        return f"{where}the same: {len(comparison.b.layers)} layers"
    return where + layers + ", ".join([*parts, f"{same} the same"])


def phase_text(comparison: Comparison, phases: Sequence[str]) -> list[Any]:
    """All that changed in one phase, or in both."""
    return [text((summary(comparison, phases), "bold")), Text(), *changes_text(comparison)]


def besides_text(comparison: Comparison, phase: str, told: Sequence[Change]) -> list[Any]:
    """What changed in a second phase that was not told of the first."""
    if not told:
        return [text((f"phase {phase}: as before", "bold"))]
    return [
        text((f"phase {phase}, besides:", "bold")),
        Text(),
        *changes_text(replace(comparison, changes=tuple(told)), False),
    ]


def changes_text(comparison: Comparison, context: bool = True) -> list[Any]:
    """A table of all rows that changed, with `context` also how many between did not; nothing if none did."""
    if not comparison.changes:
        return []
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=NAME_WIDTH)
    table.add_column(overflow="fold")
    for sign, name, detail in _Story(comparison).lines():
        if sign == " " and not context:
            continue
        table.add_row(Text(sign, style={"+": "green", "-": "red", "~": "yellow"}.get(sign, "dim")), name, detail)
    return [table, Text()]


class _Story:
    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.folded = explained(comparison)
        done = {c.at for c in self.folded}
        self.by_row: dict[Key, list[Change]] = defaultdict(list)
        for change in comparison.changes:
            if change.at not in done or change.kind == "net":
                self.by_row[change.at].append(change)
        self.details = {at: list(self.detail(at)) for at in self.by_row}
        self.groups = self.grouped()

    def grouped(self) -> dict[Key, list[Key]]:
        """The first layer of those whose changes are the same -> all of them; each other one -> nothing."""
        alike: dict[Any, list[Key]] = defaultdict(list)
        for at, changes in self.by_row.items():
            if None not in at and all(c.kind == "changed" for c in changes):
                alike[tuple((a.plain, b.plain) for a, b in self.details[at])].append(at)
        groups: dict[Key, list[Key]] = {}
        for members in alike.values():
            if len(members) >= TOGETHER:
                groups.update({at: [] for at in members})
                groups[members[0]] = members
        return groups

    def lines(self) -> Iterator[tuple[str, Text, Text]]:
        for change in self.by_row.get((None, None), []):
            yield "~", text("net ", shown(change.field)), arrow(value(change.old), value(change.new))
        same: list[str] = []
        for renamed, rows in groupby(self.comparison.rows, self.only_renamed):
            run = list(rows)
            if renamed and len(run) >= TOGETHER:
                yield from folded_line(same)
                same = []
                yield (
                    "~",
                    Text(f"{len(run)} layers renamed", style="yellow"),
                    Text(listed([self.name(at) for at in run])),
                )
                continue
            for at in run:
                if not self.by_row.get(at):
                    same.append(self.name(at))
                elif self.groups.get(at) != []:
                    yield from folded_line(same)
                    same = []
                    yield from self.entry(at)
        yield from folded_line(same)

    def only_renamed(self, at: Key) -> bool:
        """Whether nothing but its name (and its blob's) changed."""
        return bool(self.by_row.get(at)) and self.by_row[at][0].kind == "renamed" and not self.details[at]

    def entry(self, at: Key) -> Iterator[tuple[str, Text, Text]]:
        first = self.by_row[at][0]
        if first.kind in ("added", "removed"):
            spec = first.new or first.old
            sign, style = ("+", "green") if first.kind == "added" else ("-", "red")
            yield sign, Text(shown(spec.name), style=style), self.whole(spec, first.kind)
            return
        members = self.groups.get(at) or [at]
        name = f"{len(members)} layers" if len(members) > 1 else shown(self.name(at))
        yield "~", Text(name, style="yellow"), self.head(at, members)
        for label, detail in self.details[at]:
            yield "", text("  ", label), detail

    def head(self, at: Key, members: Sequence[Key]) -> Text:
        """The types, and where the layer stands."""
        if len(members) > 1:
            return Text(listed([self.name(m) for m in members]))
        lines = [g.layers[n].place.loc.line for g, n in self.both(at)]
        where = f"  line {lines[0]} → {lines[1]}" if all(lines) else ""
        return text(shown(self.layer(at).type), (where, "dim"))

    def both(self, at: Key) -> list[tuple[Graph, int]]:
        graphs = (self.comparison.a, self.comparison.b)
        return [(g, n) for g, n in zip(graphs, at, strict=True) if n is not None]

    def layer(self, at: Key) -> LayerSpec:
        graph, n = self.both(at)[-1]
        return graph.layers[n]

    def name(self, at: Key) -> str:
        """The layer's name; both names of a renamed one."""
        names = list(dict.fromkeys(g.layers[n].name for g, n in self.both(at)))
        return " → ".join(names)

    def whole(self, spec: LayerSpec, kind: str) -> Text:
        """An added or removed layer as a call, its settings, and who reads it."""
        bottoms = ", ".join(shown(b.name) for b in spec.bottoms)
        tops = [t.name for t in own_tops(spec)]
        out = text((shown(spec.type), "bold"), f"({bottoms})")
        if tops != [spec.name] and not (spec.bottoms and tops == [spec.bottoms[0].name]):
            out.append(f" → {', '.join(map(shown, tops))}")
        out.append(settings_text(spec))
        readers = [
            c.layer
            for c in self.folded
            if c.kind == "rewired" and spec.name in c.because and touches(c, spec.name, kind)
        ]
        if readers:
            word = "read by" if kind == "added" else "was read by"
            out.append(f"  {word} {', '.join(map(shown, readers))}", style="cyan")
        return out

    def detail(self, at: Key) -> Iterator[Row]:
        changes = self.by_row[at]
        if any(c.field == "type" for c in changes):
            changes = merged(changes)
        names = next((c for c in changes if c.kind == "renamed"), None)
        for c in changes:
            if c.kind == "changed":
                yield from field_rows(c)
            elif c.kind == "rewired":
                yield Text("reads"), wires(c)
            elif c.kind == "moved":
                yield Text("order"), self.moved(at)
            elif c.kind == "tops" and not c.because and not (names and c.old == (names.old,) and c.new == (names.new,)):
                yield Text("tops"), arrow(", ".join(map(shown, c.old)), ", ".join(map(shown, c.new)))

    def moved(self, at: Key) -> Text:
        """Behind which layer it stood and stands."""
        ends = [f"after {shown(g.layers[n - 1].name)}" if n else "first" for g, n in self.both(at)]
        return arrow(*ends)


def merged(changes: Sequence[Change]) -> list[Change]:
    """A layer of another type has its settings in another message: those of one name are one, or none if they agree."""
    settings: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.kind == "changed":
            settings[field_label(change.field)].append(change)
    out = []
    for same in settings.values():
        old = next((c.old for c in same if c.old is not None), None)
        new = next((c.new for c in same if c.new is not None), None)
        if old != new:
            out.append(replace(same[0], old=old, new=new))
    return [*out, *(c for c in changes if c.kind != "changed")]


def touches(change: Change, name: str, kind: str) -> bool:
    """Whether a rewired layer reads the added one itself, or read the removed one itself."""
    return any(w.layer == name for w in (change.new if kind == "added" else change.old))


def folded_line(names: list[str]) -> Iterator[tuple[str, Text, Text]]:
    if names:
        count = "the same" if len(names) == 1 else f"{len(names)} layers the same"
        yield " ", Text(ends(names), style="dim"), Text(count, style="dim")


def ends(names: Sequence[str]) -> str:
    """The first and the last of a run; two are both named."""
    return " … ".join([shown(names[0]), shown(names[-1])]) if len(names) > 2 else ", ".join(map(shown, names))


def listed(names: Sequence[str]) -> str:
    """Names of layers told of together."""
    more = len(names) - LISTED
    first = ", ".join(shown(n) for n in (names if more <= 1 else names[:LISTED]))
    return f"{first} and {more} more" if more > 1 else first


def arrow(old: str, new: str) -> Text:
    return text((old, "red"), " → ", (new, "green"))


def wires(change: Change) -> Text:
    """The bottoms that changed, all where their number did; the maker where the blob's name does not tell."""
    pairs = list(zip(change.old, change.new, strict=False))
    if len(change.old) != len(change.new):
        return arrow(*(", ".join(shown(w.blob) for w in side) or "nothing" for side in (change.old, change.new)))
    out = Text()
    for n, (old, new) in enumerate(pairs):
        if old == new:
            continue
        by = old.blob == new.blob
        ends = [f"{shown(w.blob)} as {shown(w.layer)} leaves it" if by else shown(w.blob) for w in (old, new)]
        if out:
            out.append(", ")
        if len(pairs) > 1:
            out.append(f"bottom {n}: ", style="dim")
        out.append_text(arrow(*ends))
    return out if out.plain else text("the same names, other values")


def field_rows(change: Change) -> Iterator[Row]:
    """A changed field; the entries of a param_str that differ, where both are dicts."""
    label = field_label(change.field)
    dicts = [entries(v) for v in (change.old, change.new)] if change.field.endswith("param_str") else [None]
    if None in dicts:
        yield Text(label), arrow(value(change.old), value(change.new))
        return
    old, new = dicts
    assert old is not None and new is not None
    for key in dict.fromkeys((*old, *new)):
        if old.get(key, dicts) != new.get(key, dicts):
            yield (
                Text(f"{label} {shown(key)}"),
                arrow(*(shown(repr(d[key])) if key in d else "unset" for d in (old, new))),
            )


def settings_text(spec: LayerSpec) -> str:
    """What a layer is set to, as the end of a line."""
    parts = settings(fields(spec.proto))
    return "  " + ", ".join(parts) if parts else ""
