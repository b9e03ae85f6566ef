"""The linter: rules for nets and solvers, each with a code, an explanation, and where it is safe a fix.

A rule is a function of a View (a net in one phase), a NetFile or a SolverFile that yields Findings; its docstring is
the explanation. Its module is one of this package, and `rule` registers it. A clean file yields nothing.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from netspec.check.subject import Edit, Finding, NetFile, SolverFile, View
from netspec.errors import Loc, SpecError, suggestion
from netspec.spec import binary

BROKEN = "NS000"


@dataclass(frozen=True)
class Rule:
    """`subject` is what the function takes."""

    code: str
    title: str
    subject: type
    find: Callable[[Any], Iterator[Finding]]

    @property
    def explanation(self) -> str:
        return inspect.getdoc(self.find) or ""


@dataclass(frozen=True)
class Problem:
    """A finding with its rule's code."""

    code: str
    message: str
    loc: Loc
    edit: Edit | None = None

    def __str__(self) -> str:
        return f"{self.loc}: {self.code} {self.message}"


_rules: dict[str, Rule] = {}


def rule(code: str, title: str, subject: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a rule."""

    def register(find: Callable[..., Any]) -> Callable[..., Any]:
        if code in _rules and _rules[code].find.__module__ != find.__module__:
            raise TypeError(f"rule {code} is defined in {_rules[code].find.__module__} and {find.__module__}")
        _rules[code] = Rule(code, title, subject, find)
        return find

    return register


@lru_cache(maxsize=1)
def _own() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def rules() -> dict[str, Rule]:
    """Every rule by its code."""
    _own()
    return dict(sorted(_rules.items()))


def explain(code: str) -> Rule:
    """A rule by its code."""
    known = rules()
    if code.upper() not in known:
        raise SpecError(f"no rule {code}{suggestion(code.upper(), known)}")
    return known[code.upper()]


def check(path: str, weights: str | None = None, ignore: Sequence[str] = ()) -> list[Problem]:
    """All problems of a net or solver file, in the order of lines. A file that cannot be built has one: NS000."""
    problems: dict[tuple[Any, ...], Problem] = {}
    for code, finding in _findings(path, weights):
        key = (finding.loc, code, finding.message)
        if code not in ignore:
            problems.setdefault(key, Problem(code, finding.message, finding.loc, finding.edit))
    return sorted(problems.values(), key=lambda p: (p.loc.line, p.loc.col, p.code))


def _findings(path: str, weights: str | None) -> Iterator[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    errors: list[SpecError] = []
    try:
        subject = SolverFile(path) if is_solver(path) else NetFile(path, stored=_stored(weights))
        found += _apply([subject])
        views = list(subject.views.values()) if isinstance(subject, NetFile) else []
        found += _apply(views)
        errors = [view.errors[0] for view in views if view.errors and not view.assumed]
    except SpecError as e:
        errors = [e]
    yield from found
    for e in errors:
        if not any(f.loc == e.loc for _, f in found):
            yield BROKEN, Finding(e.message, e.loc or Loc(path))


def _apply(subjects: Sequence[Any]) -> Iterator[tuple[str, Finding]]:
    for each in rules().values():
        for subject in subjects:
            if isinstance(subject, each.subject):
                yield from ((each.code, finding) for finding in each.find(subject))


def _stored(path: str | None) -> Any:
    from netspec import weights

    return weights.read(path) if path else None


def is_solver(path: str) -> bool:
    """Whether a file reads as a solver and not as a net."""
    try:
        binary.read_any(path)
        return False
    except SpecError:
        pass
    try:
        binary.read_any(path, "SolverParameter")
        return True
    except SpecError:
        return False


def fix(text: str, problems: Sequence[Problem]) -> str:
    """The text with all edits done, from the last place to the first."""
    starts = [0, *(m.end() for m in re.finditer("\n", text))]
    edits = {p.edit for p in problems if p.edit}
    for edit in sorted(edits, key=lambda e: (e.loc.line, e.loc.col), reverse=True):
        at = starts[edit.loc.line - 1] + edit.loc.col - 1
        text = text[:at] + re.sub(edit.pattern, edit.replacement, text[at:], count=1)
    return text


__all__ = ["BROKEN", "Finding", "NetFile", "Problem", "Rule", "SolverFile", "View", "check", "explain", "fix", "rules"]
