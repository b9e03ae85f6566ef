"""Image lists: a file name, a space and an integer label a line; names may hold spaces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from netspec.errors import Loc, SpecError

LABEL = re.compile(r"[+-]?[0-9]{1,10}")
LABELS = range(-(2**31), 2**31)


class Line(NamedTuple):
    name: str
    label: int


def read_list(path: Path) -> list[Line]:
    """The lines of a list, blank ones left out; SpecError names file and line of one that is wrong."""
    lines = [_line(text, Loc(str(path), n)) for n, text in enumerate(read_lines(path), 1) if text.strip()]
    if not lines:
        raise SpecError("the list is empty", Loc(str(path)))
    return lines


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, which may hold names in any encoding."""
    try:
        return path.read_text("utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", Loc(str(path))) from None


def _line(text: str, loc: Loc) -> Line:
    text = text.rstrip()
    cut = max(text.rfind(" "), text.rfind("\t"))
    name, label = text[: max(cut, 0)], text[cut + 1 :]
    if not name.strip():
        raise SpecError(f"a file name, a space and an integer label are wanted, not {printable(text)!r}", loc)
    if not LABEL.fullmatch(label) or int(label) not in LABELS:
        raise SpecError(f"label '{printable(label)}' is no integer of 32 bits", loc)
    return Line(name, int(label))


def printable(text: str) -> str:
    """At most 60 characters, of which any can be printed."""
    return text[:60].encode("utf-8", "replace").decode()
