"""What a solver is set to, and where that differs from the published solver of the same name.

The published one is looked for beside the solver: released/NAME, then in the folder above; it is the file itself where
that stands in a folder `released` (then only overrides differ). Nets are the same where their paths lead to one file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.errors import SpecError
from netspec.ir.canonical import plain
from netspec.ir.words import value
from netspec.spec.text import Document, is_repeated

RELEASED = "released"
PATHS = ("net", "train_net", "test_net")
OWN = ("snapshot_prefix",)
"""Fields that every run sets for itself."""


@dataclass(frozen=True)
class Setting:
    """A field's value in words, and the published one where that is another."""

    field: str
    value: str
    published: str | None = None


def settings(document: Document, published: Document | None) -> list[Setting]:
    """The fields that either of the two sets, in the order of the schema."""
    ours, theirs = fields(document), fields(published) if published else {}
    names = [d.name for d in document.message.DESCRIPTOR.fields if d.name in ours or d.name in theirs]
    out = []
    for name in names:
        mine = ours.get(name, default(document, name))
        other = theirs.get(name, default(document, name))
        differs = published is not None and name not in OWN and not same(name, mine, other, document, published)
        out.append(Setting(name, mine, other if differs else None))
    return out


def fields(document: Document) -> dict[str, str]:
    """The fields set, in words; messages inside stay out."""
    return {d.name: worded(d, v) for d, v in document.message.ListFields() if d.message_type is None}


def default(document: Document, name: str) -> str:
    """What a field means where it is not given."""
    descriptor = document.message.DESCRIPTOR.fields_by_name[name]
    unset = descriptor.message_type is not None or is_repeated(descriptor) or not descriptor.has_default_value
    return "unset" if unset else worded(descriptor, descriptor.default_value)


def worded(descriptor: Any, given: Any) -> str:
    found = plain(descriptor, given)
    return ", ".join(map(value, found)) if isinstance(found, tuple) else value(found)


def same(name: str, mine: str, other: str, a: Document, b: Document) -> bool:
    """Whether two values mean the same."""
    if name in PATHS and "unset" not in (mine, other):
        return all(
            (Path(a.file).parent / x.strip("'")).resolve() == (Path(b.file).parent / y.strip("'")).resolve()
            for x, y in zip(mine.split(", "), other.split(", "), strict=False)
        )
    return mine == other


def published_of(document: Document) -> Document | None:
    """The published solver of the same name, if there is one near."""
    from netspec.solver import settings as solver_settings

    own = Path(document.file)
    beside = own.parent / RELEASED / own.name, own.parent.parent / RELEASED / own.name
    for path in (own, *beside) if own.parent.name == RELEASED else beside:
        if path.is_file():
            try:
                return solver_settings.read(path)
            except SpecError:
                return None
    return None
