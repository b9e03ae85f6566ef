"""Training runs as one picture: loss, learning rate and scores over iterations. Needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.errors import SpecError
from netspec.solver.logs import Log, Row
from netspec.spec.binary import replacing

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D3A9B", "#7F7F7F")
"""Told apart by all kinds of eyes (after Okabe and Ito)."""
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (9, 3)), (0, (6, 2, 1, 2, 1, 2)))
SCORE_WORDS = {"pixel_acc": "pixel acc.", "mean_acc": "mean acc.", "mean_iu": "mean IU", "fw_iu": "f.w. IU"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "netspec",
}
WIDE = {"loss": 30.0, "learning rate": 10.0}
"""Values whose largest is so many times the smallest are shown on a logarithmic scale."""


@dataclass(frozen=True)
class Curve:
    """One line: points, words for the legend, and which of several kinds it is of."""

    name: str
    points: Sequence[tuple[int, float]]
    tested: bool = False
    faint: bool = False


def draw(logs: Sequence[Log], path: str | Path) -> None:
    """Writes the picture; the suffix says its format. SpecError without matplotlib, or with nothing to show."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise SpecError(f"'{path.name}' does not end in {', '.join(SUFFIXES)}")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise SpecError("pictures of logs need the package matplotlib: pip install matplotlib") from None
    panels = [(title, kind) for title, kind in PANELS if any(list(kind(log)) for log in logs)]
    heights = [HEIGHTS[title] for title, _ in panels]
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, sum(heights) + 0.5), dpi=150, layout="constrained")
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, kind) in zip(all_axes, panels, strict=True):
            panel(axes, title, {name: list(kind(log)) for name, log in zip(names(logs), logs, strict=True)})
        if len(logs) > 1:
            title_runs(figure, names(logs))
        all_axes[-1].set_xlabel("iteration")
        all_axes[-1].xaxis.set_major_formatter("{x:,.0f}")
        all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
        with replacing(path) as temporary:
            kind = path.suffix.lower()[1:]
            figure.savefig(temporary, format=kind, metadata=None if kind == "png" else {UNDATED[kind]: None})


UNDATED = {"svg": "Date", "pdf": "CreationDate"}


def losses(log: Log) -> Iterator[Curve]:
    """The displayed loss of training, behind it that of each iteration alone, and that of every test net."""
    shown = points(log.train, [r.loss for r in log.train])
    own = points(log.train, [r.own_loss for r in log.train])
    if own and any(dict(shown).get(i) != v for i, v in own):
        yield Curve("each iteration", own, faint=True)
    if shown:
        yield Curve("training", shown)
    for number, rows in log.tests.items():
        told = points(rows, [r.own_loss if r.loss is None else r.loss for r in rows])
        if told:
            yield Curve(f"test{which(log, number)}", told, tested=True)


def rates(log: Log) -> Iterator[Curve]:
    """The learning rate."""
    if told := points(log.train, [r.lr for r in log.train]):
        yield Curve("learning rate", told)


def scores(log: Log) -> Iterator[Curve]:
    """Outputs of test nets that are no losses (the mean of their values), and segmentation scores."""
    for number, rows in log.tests.items():
        outputs = dict.fromkeys(k for r in rows for k in r.outputs if k not in r.weights)
        for name in outputs:
            values = [r.outputs.get(name) for r in rows]
            told = points(rows, [sum(v) / len(v) if v else None for v in values])
            yield Curve(f"{name}{which(log, number)}", told, tested=True)
        for name, words in SCORE_WORDS.items():
            if told := points(rows, [r.scores.get(name) for r in rows]):
                yield Curve(f"{words}{which(log, number)}", told, tested=True)


PANELS = (("loss", losses), ("scores", scores), ("learning rate", rates))
HEIGHTS = {"loss": 3.2, "scores": 2.8, "learning rate": 1.5}


def points(rows: Sequence[Row], values: Sequence[float | None]) -> list[tuple[int, float]]:
    """(iteration, value) where there is a value; nan stays and leaves a gap."""
    return [(row.iteration, value) for row, value in zip(rows, values, strict=True) if value is not None]


def which(log: Log, number: int) -> str:
    """The test net's number, where there are several."""
    return f" {number}" if len(log.tests) > 1 else ""


def panel(axes: Any, title: str, runs: dict[str, list[Curve]]) -> None:
    """One quantity. Of one run, kinds of curves differ by colour; of several, runs do, and kinds by their dashes."""
    kinds = list(dict.fromkeys(c.name for curves in runs.values() for c in curves if not c.faint))
    for number, curves in enumerate(runs.values()):
        for curve in curves:
            kind = 0 if curve.faint else kinds.index(curve.name)
            colour = COLOURS[(number if len(runs) > 1 else kind) % len(COLOURS)]
            line(axes, curve, colour, DASHES[kind % len(DASHES)] if len(runs) > 1 else "-", len(runs) > 1)
    axes.set_title(f"{title}: {kinds[0]}" if kinds not in ([], [title]) and len(kinds) == 1 else title)
    scale(axes, title, [v for curves in runs.values() for c in curves for _, v in c.points if math.isfinite(v)])
    if len(kinds) > 1:
        legend(axes, kinds, len(runs) > 1)


def title_runs(figure: Any, names: Sequence[str]) -> None:
    """The runs and their colours, above all panels."""
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=COLOURS[i % len(COLOURS)], linewidth=3, label=n) for i, n in enumerate(names)]
    figure.legend(handles=keys, loc="outside upper left", ncols=max(1, min(len(keys), 90 // max(map(len, names)))))


def line(axes: Any, curve: Curve, colour: str, dashes: Any, several: bool) -> None:
    x, y = zip(*curve.points, strict=True)
    if curve.faint:
        axes.plot(x, y, color=colour, alpha=0.15 if several else 0.3, linewidth=0.8, zorder=1)
        return
    marker = "o" if len(x) == 1 or (curve.tested and len(x) <= 40) else None
    axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1.6, marker=marker, markersize=3.5, zorder=2)


def legend(axes: Any, kinds: Sequence[str], dashed: bool) -> None:
    """The kinds of curves of a panel."""
    from matplotlib.lines import Line2D

    keys = []
    for i, name in enumerate(kinds):
        colour, dashes = ("#555555", DASHES[i % len(DASHES)]) if dashed else (COLOURS[i % len(COLOURS)], "-")
        keys.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.6, label=name))
    axes.legend(handles=keys, loc="lower right", bbox_to_anchor=(1, 1.01), ncols=min(len(keys), 6), borderaxespad=0)


def scale(axes: Any, title: str, values: Sequence[float]) -> None:
    """A logarithmic scale for values far apart; scores between 0 and 1 are shown as such."""
    if title in WIDE and values and min(values) > 0 and max(values) / min(values) >= WIDE[title]:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")
        axes.set_ylim(min(values) / 2, max(values) * 2)
    elif title == "scores" and values and min(values) >= 0 and max(values) <= 1 and max(values) - min(values) > 0.3:
        axes.set_ylim(0, 1.03)
    elif title == "learning rate" and values:
        axes.set_ylim(0, max(values) * 1.15 or 1)


def names(logs: Sequence[Log]) -> list[str]:
    """What tells the runs apart: the file's name, or the folder's of a log.jsonl; whole paths where these are alike."""
    short = [log.path.resolve().parent.name if log.path.name == "log.jsonl" else log.path.stem for log in logs]
    if len(set(short)) == len(short):
        return short
    paths = [str(log.path) for log in logs]
    return [f"{path} ({i + 1})" if paths.count(path) > 1 else path for i, path in enumerate(paths)]
