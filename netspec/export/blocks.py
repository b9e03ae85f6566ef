"""Blocks: parts of a net with branches that occur again and again, such as those of Inception and residual nets.

1. The net is cut wherever a single value passes from what is before to what is after.
2. A part between two cuts, of more than one statement with more than one value alive inside, is a block if a part of
   the same form occurs elsewhere: the same statements and wiring; numbers of its members (channels, ...) may differ.
3. Such numbers become arguments of the block's class, one for all those that go together.
4. A member's name is what the names of its layers have in common in all blocks of a class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from netspec.export.forms import Arg
from netspec.export.source import class_name, identifier, unused
from netspec.export.statements import Statement
from netspec.ir.graph import Blob


@dataclass(frozen=True)
class Block:
    """One occurrence: a run of statements that reads `source` and gives `top`."""

    name: str
    statements: tuple[Statement, ...]
    source: Blob
    top: Blob


@dataclass(frozen=True)
class BlockClass:
    """What blocks of one form share. `arguments`: name -> its value in each block."""

    name: str
    blocks: tuple[Block, ...]
    members: tuple[str, ...]
    arguments: dict[str, tuple[object, ...]]
    bound: dict[tuple[int, str], str]
    """(member, name of its argument) -> the class's argument that it takes."""


def find_blocks(found: Sequence[Statement], inputs: Sequence[Blob], outputs: Sequence[Blob]) -> list[BlockClass]:
    """All classes of blocks, in the order they first occur."""
    forms: dict[object, list[Block]] = {}
    for part, source in parts(found, inputs, outputs):
        forms.setdefault(form_of(part, source), []).append(Block(block_name(part), part, source, part[-1].tops[0]))
    classes: list[BlockClass] = []
    for blocks in forms.values():
        if len(blocks) > 1:
            classes.append(make_class(blocks, [c.name for c in classes]))
    return classes


def parts(
    found: Sequence[Statement], inputs: Sequence[Blob], outputs: Sequence[Blob]
) -> list[tuple[tuple[Statement, ...], Blob]]:
    """Rule 1, and of rule 2 what one part shows alone: the statements, and the value they start from."""
    last_read = {b: i for i, s in enumerate(found) for b in s.reads}
    last_read.update(dict.fromkeys(outputs, len(found)))
    alive = set(inputs)
    source, start, branched, out = (inputs[0] if len(inputs) == 1 else None), 0, False, []
    for i, statement in enumerate(found):
        alive = {b for b in alive.union(statement.tops) if last_read.get(b, -1) > i}
        branched = branched or len(alive) > 1
        if len(alive) == 1 and statement.tops == tuple(alive):
            if source is not None and branched and i > start:
                out.append((tuple(found[start : i + 1]), source))
            source, start, branched = statement.tops[0], i + 1, False
    return out


def form_of(part: Sequence[Statement], source: Blob) -> object:
    """What two blocks of one class have in common: expressions, wiring, kinds of members."""
    places = {source: -1} | {t: (i, j) for i, s in enumerate(part) for j, t in enumerate(s.tops)}
    return tuple(
        (
            s.expr,
            tuple(places[b] for b in s.reads),
            tuple((m.constructor, m.name, tuple((a.name, a.default) for a in m.args)) for _, m in s.members),
        )
        for s in part
    )


def block_name(part: Sequence[Statement]) -> str:
    """What the names of all its layers start with, else the name of its top."""
    names = [name for s in part for name in s.layers]
    common = names[0]
    for name in names[1:]:
        while not name.startswith(common):
            common = common[:-1]
    common = re.sub(r"[\W_]+$", "", common)
    return common if len(common) > 2 else part[-1].tops[0].name


def make_class(blocks: Sequence[Block], taken: Sequence[str]) -> BlockClass:
    """Rules 3 and 4."""
    stem = re.match(r"[A-Za-z]*", common_start([b.name for b in blocks]))
    name = unused(class_name((stem[0] if stem else "") + "_block"), taken).replace("_", "")
    rows = [[m for s in b.statements for m in s.members] for b in blocks]
    members: list[str] = []
    for column in zip(*rows, strict=True):
        text = shared_name([layer for layer, _ in column], [b.name for b in blocks])
        kind = {"Conv": "conv", "Batc": "bn", "Line": "fc"}.get(column[0][1].constructor[3:7], "layer")
        text = f"{text}_{column[0][1].name}" if column[0][1].name else text
        members.append(identifier(text, lambda n: n in members or n in ("forward", "train", "eval"), kind))
    arguments, bound = {}, {}
    known: dict[tuple[object, ...], str] = {}
    for number, column in enumerate(zip(*rows, strict=True)):
        for i, arg in enumerate(column[0][1].args):
            values = tuple(m.args[i].value for _, m in column)
            if len(set(values)) > 1:
                known.setdefault(values, argument_name(arg, members[number], arguments))
                arguments[known[values]] = values
                bound[number, arg.name] = known[values]
    return BlockClass(name, tuple(blocks), tuple(members), arguments, bound)


def argument_name(arg: Arg, member: str, taken: dict[str, tuple[object, ...]]) -> str:
    """The first channels that come in are the block's own; others are named by the member that they belong to."""
    if arg.name in ("in_channels", "stride") and arg.name not in taken:
        return arg.name
    plain = {"out_channels": f"{member}_out", "in_channels": f"{member}_in"}.get(arg.name, f"{member}_{arg.name}")
    return unused(plain, taken)


def common_start(names: Sequence[str]) -> str:
    """What all names start with."""
    first, last = min(names), max(names)
    end = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:end]


def shared_name(layers: Sequence[str], blocks: Sequence[str]) -> str:
    """Word by word what the layers' names share; the words of the blocks' own names go first, and of a word that
    differs its letters at the start stay."""
    cut = [
        layer[len(b) :] if layer.startswith(b) and layer != b else layer
        for layer, b in zip(layers, blocks, strict=True)
    ]
    rows = [[w for w in re.split(r"[\W_]+", name) if w] for name in cut]
    if len({len(r) for r in rows}) > 1:
        return "_".join(rows[0])
    words = []
    for column in zip(*rows, strict=True):
        stem = re.match(r"[A-Za-z]*", common_start(column))
        words.append(column[0] if len(set(column)) == 1 else stem[0] if stem else "")
    return "_".join(w for w in words if w) or "_".join(rows[0])
