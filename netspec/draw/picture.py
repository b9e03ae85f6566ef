"""What a picture shows: boxes of layers, wires of values, blocks of boxes. Nothing here knows where anything stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Run = tuple[str, str]
"""A piece of text and its style: "", "dim", "old" or "new"."""
Line = tuple[Run, ...]


@dataclass(frozen=True)
class Box:
    """One layer, or several that follow each other in place. The first line is the title.

    `layers` are what is known of each, for whoever asks: JSON objects, see `netspec.draw.detail`.
    """

    lines: tuple[Line, ...]
    kind: str
    layers: tuple[dict[str, Any], ...] = ()
    status: str = ""
    types: tuple[str, ...] = ()
    settings: str = ""

    @property
    def title(self) -> str:
        return plain(self.lines[0])


@dataclass(frozen=True)
class Wire:
    """A value that the box `target` reads from the box `source`; both are positions."""

    source: int
    target: int
    blob: str
    shape: str = ""
    status: str = ""


@dataclass(frozen=True)
class Block:
    """Boxes that can stand as one: a single value enters, and only the last box is read from outside."""

    title: str
    note: str
    boxes: tuple[int, ...]
    like: int = 0
    """Blocks of equal structure have the same number."""


@dataclass(frozen=True)
class Picture:
    """Boxes in an order in which wires go forward, but for those of nets whose order changed."""

    title: str
    note: str
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    blocks: tuple[Block, ...] = ()
    legend: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join(text for text, _ in line)


def text(*runs: str | Run) -> Line:
    """A line of pieces."""
    return tuple((run, "") if isinstance(run, str) else run for run in runs)


def wrapped(words: Sequence[str], between: str, most: int) -> list[str]:
    """Words joined to lines of at most `most` characters, a longer word on a line of its own."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= most:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
