"""netspec check: a linter for nets and solvers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from netspec.cli import verb
from netspec.cli._page import page, shown, text

if TYPE_CHECKING:
    from netspec.check import Problem


@verb()
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--weights", type=click.Path(), help="A weight file the nets are to be used with.")
@click.option("--ignore", multiple=True, metavar="CODE", help="A rule to leave out; repeatable.")
@click.option("--fix", "fixing", is_flag=True, help="Put right what is safe to put right, in the files themselves.")
@click.option("--explain", "code", metavar="CODE", help="Explain a rule; `all` lists the rules.")
@click.option("--json", "as_json", is_flag=True, help="JSON: a list of problems.")
def command(
    files: tuple[str, ...],
    weights: str | None,
    ignore: tuple[str, ...],
    fixing: bool,
    code: str | None,
    as_json: bool,
) -> int:
    """Check nets and solvers for what is probably not meant; says nothing of a clean file.

    Exit status: 0 clean, 1 problems. Each problem is a line `file:line:col: CODE message`.

    Example: netspec check prototxt/voc-fcn8s/train.prototxt solver.prototxt
    """
    from netspec.check import check

    if code:
        explain_rule(code)
        return 0
    if not files:
        raise click.UsageError("give files to check, or --explain CODE")
    problems = [p for file in files for p in check(file, weights, [c.upper() for c in ignore])]
    if fixing:
        problems = fixed(problems)
    if as_json:
        click.echo(json.dumps([data(p) for p in problems], indent=2))
    elif problems:
        page(*[text((f"{shown(p.loc)}: ", "dim"), (p.code, "bold yellow"), f" {shown(p.message)}") for p in problems])
    return 1 if problems else 0


def data(problem: Problem) -> dict[str, object]:
    loc = problem.loc
    return {
        "file": loc.file,
        "line": loc.line or None,
        "col": loc.col or None,
        "code": problem.code,
        "message": problem.message,
        "fixable": problem.edit is not None,
    }


def fixed(problems: list[Problem]) -> list[Problem]:
    """Does the edits; what is left is returned."""
    from pathlib import Path

    from netspec.check import fix
    from netspec.spec.binary import replacing

    for file in dict.fromkeys(p.edit.loc.file for p in problems if p.edit):
        old = Path(file).read_bytes().decode("utf-8", "surrogateescape")
        new = fix(old, [p for p in problems if p.edit and p.edit.loc.file == file])
        with replacing(file) as temporary:
            temporary.write_bytes(new.encode("utf-8", "surrogateescape"))
    done = [p for p in problems if p.edit]
    for p in done:
        click.echo(f"{shown(p.loc)}: {p.code} fixed", err=True)
    return [p for p in problems if not p.edit]


def explain_rule(code: str) -> None:
    """A rule's title and explanation; or all titles."""
    from netspec.check import explain, rules

    if code == "all":
        page(*[text((rule.code, "bold"), f"  {rule.title}") for rule in rules().values()])
        return
    rule = explain(code)
    page(text((f"{rule.code}  {rule.title}", "bold")), text(""), text(rule.explanation))
