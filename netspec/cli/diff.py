"""netspec diff: compares nets, weight files, or a net and a weight file."""

from __future__ import annotations

import json
from typing import Any

import click

from netspec.cli import verb
from netspec.cli._net import has_phase_rules, in_phases, read_net, state_options
from netspec.cli._page import page, printed_html, shown, text
from netspec.ir.diff import Comparison, compare
from netspec.ir.lower import PHASES

WEIGHTS = (".caffemodel", ".h5", ".hdf5", ".safetensors", ".pt", ".pth", ".npz")


@verb()
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@state_options
@click.option("--ignore", multiple=True, metavar="FIELD", help="A field or kind of change to leave out; repeatable.")
@click.option("--dataflow", is_flag=True, help="Leave out names of blobs: in place equals not in place.")
@click.option("--json", "as_json", is_flag=True, help="JSON, as docs/diff-json.md says.")
@click.option("--html", "html_file", type=click.Path(), help="Write a page too: both nets in one picture.")
def command(
    a: str,
    b: str,
    phase: str | None,
    level: int,
    stages: tuple[str, ...],
    ignore: tuple[str, ...],
    dataflow: bool,
    as_json: bool,
    html_file: str | None,
) -> int:
    """Compare two nets layer by layer, two weight files, or a net and a weight file.

    Exit status: 0 the same, 1 different, 2 trouble. Nets with phase rules are compared in both phases.

    Example: netspec diff voc-fcn32s/train.prototxt voc-fcn8s/train.prototxt
    """
    if is_weights(a) or is_weights(b):
        report = weights_report(a, b, phase or "TRAIN", level, stages)
    else:
        report = nets_report(a, b, [phase] if phase else None, level, stages, ignore, dataflow)
    if as_json:
        click.echo(json.dumps(report.data, indent=2))
    else:
        page(*report.shown)
    if html_file:
        write_html(html_file, f"{a} → {b}", report)
    return 0 if report.data["same"] else 1


def is_weights(path: str) -> bool:
    """Whether a name is a weight file's."""
    return path.lower().endswith(WEIGHTS)


class Report:
    """The outcome, for JSON and for people; of nets also the comparison in each phase."""

    def __init__(self, data: dict[str, Any], shown: list[Any], found: dict[str, Comparison] | None = None) -> None:
        self.data, self.shown, self.found = data, shown, found


def write_html(path: str, title: str, report: Report) -> None:
    """Nets as one picture to look around in, weights as the page that was printed."""
    from netspec.spec.binary import replacing

    if report.found:
        from netspec.draw.change import draw_diff
        from netspec.draw.html import html

        content = html({phase: draw_diff(found) for phase, found in report.found.items()}, title)
    else:
        content = printed_html(title, *report.shown)
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def nets_report(
    a: str, b: str, phases: list[str] | None, level: int, stages: Any, ignore: Any, dataflow: bool
) -> Report:
    """Two nets in one phase or, where their layers depend on it, in both."""
    from netspec.cli._diff_data import comparison_data
    from netspec.cli._diff_text import heading

    documents = [read_net(a), read_net(b)]
    if phases is None:
        phases = list(PHASES) if any(map(has_phase_rules, documents)) else ["TRAIN"]
    (ours, no_a), (theirs, no_b) = (in_phases(d, phases, level, stages) for d in documents)
    common = [p for p in phases if p in ours and p in theirs]
    if not common:
        raise next(iter((no_a | no_b).values()))
    found = {p: compare(ours[p], theirs[p], ignore, dataflow) for p in common}
    data = {
        "a": a,
        "b": b,
        "same": not any(c.changes for c in found.values()),
        "phases": [{"phase": p, **comparison_data(c)} for p, c in found.items()],
    }
    shown_ = [*heading(a, b), *phases_text(found, len(phases) > 1)]
    for p, error in (no_a | no_b).items():
        shown_.append(text(("note", "yellow"), f": not compared in phase {p}: {shown(error.message)}"))
    return Report(data, shown_, found)


def phases_text(found: dict[str, Comparison], named: bool) -> list[Any]:
    """The changes of the first phase, then those that only the second has; once where they are the same."""
    from netspec.cli._diff_text import besides_text, phase_text

    (first, comparison), *others = found.items()
    known = stories(comparison)
    told = [(p, c, [x for x, s in zip(c.changes, stories(c), strict=True) if s not in known]) for p, c in others]
    same = all(len(c.changes) == len(comparison.changes) and not new for _, c, new in told)
    if same:
        return phase_text(comparison, list(found) if named else [])
    out = phase_text(comparison, [first])
    for p, c, new in told:
        out += besides_text(c, p, new)
    return out


def stories(comparison: Comparison) -> list[dict[str, Any]]:
    """The changes without their positions, which differ from phase to phase."""
    from netspec.cli._diff_data import comparison_data

    place = ("at", "lines")
    return [{k: v for k, v in c.items() if k not in place} for c in comparison_data(comparison)["changes"]]


def weights_report(a: str, b: str, phase: str, level: int, stages: Any) -> Report:
    """Two weight files, or a net and a weight file, in either order."""
    from netspec.cli import _diff_weights

    if is_weights(a) and is_weights(b):
        return Report(*_diff_weights.two_files(a, b))
    net, file = (a, b) if is_weights(b) else (b, a)
    graphs, _ = in_phases(read_net(net), [phase], level, stages)
    return Report(*_diff_weights.net_and_file(net, graphs[phase], file))
