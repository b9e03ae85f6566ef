"""What goes wrong with a user's input, and where: one line `file:line:col: error: message`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Loc:
    """A place in a text file; line and column count from 1, 0 means the whole file."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        parts = [self.file, *(str(n) for n in (self.line, self.col) if n)]
        return ":".join(parts)


class SpecError(Exception):
    """The user's input is at fault. `excerpt` is the line and a caret, shown below the message."""

    def __init__(self, message: str, loc: Loc | None = None, excerpt: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.loc = loc
        self.excerpt = excerpt

    def at(self, loc: Loc | None, prefix: str = "") -> SpecError:
        """The same error with a place, unless it has one already."""
        if self.loc is not None:
            return self
        return type(self)(prefix + self.message, loc, self.excerpt)

    def __str__(self) -> str:
        head = f"{self.loc}: " if self.loc else ""
        tail = f"\n{self.excerpt}" if self.excerpt else ""
        return f"{head}error: {self.message}{tail}"


class LayerError(SpecError):
    """A layer's own complaint; `field` names the setting at fault, whoever builds adds layer and place."""

    def __init__(self, message: str, loc: Loc | None = None, excerpt: str = "", *, field: str | None = None) -> None:
        super().__init__(message, loc, excerpt)
        self.field = field


class UnknownLayer(LayerError):
    """A layer type, or a Python layer, that nothing here computes: its net can be looked at and not run."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""
