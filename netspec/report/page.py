"""What is known of a run -> one page that needs nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from netspec.draw.html import digest, variables
from netspec.draw.theme import DARK, LIGHT
from netspec.report.chart import Series, chart
from netspec.report.recipe import Setting
from netspec.report.samples import Sample
from netspec.segmentation.palette import class_names, voc_palette

Record = Mapping[str, Any]
SCORES = {"mean_iu": "mean IU", "pixel_acc": "pixel acc.", "mean_acc": "mean acc.", "fw_iu": "f.w. IU"}
REFRESH = 30
"""Seconds after which a page of a run that goes on loads itself again."""


@dataclass
class Run:
    """What the page tells; `records` are the objects of log.jsonl."""

    title: str
    state: str
    written: str
    iteration: int
    last_iteration: int
    records: Sequence[Record] = ()
    settings: Sequence[Setting] = ()
    published: str = ""
    samples: Sequence[Sample] = ()
    sampled_at: int = 0
    net: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def page(run: Run) -> str:
    """The page's text."""
    style = full_style()
    going = f'<meta http-equiv="refresh" content="{REFRESH}">\n' if run.state == "running" else ""
    parts = [head(run), *curves(run.records), classes(run.records), pictures(run), recipe(run), net(run)]
    body = "\n".join(part for part in parts if part)
    policy = f"default-src 'none'; img-src data:; style-src {digest(style)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n{going}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(run.title)}: {escape(run.state)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def head(run: Run) -> str:
    """Title, how far the run is, the last numbers."""
    part = min(1.0, run.iteration / run.last_iteration) if run.last_iteration else 1.0
    tiles = [(f"{run.iteration:,} of {run.last_iteration:,}", "iterations"), *last_numbers(run.records)]
    tiles += [(text, name) for name, text in run.notes.items()]
    boxes = "".join(f"<div><b>{escape(text)}</b><span>{escape(name)}</span></div>" for text, name in tiles)
    return (
        f"<header><h1>{escape(run.title)}</h1><p>{escape(run.state)}, written {escape(run.written)}</p>"
        f'<progress value="{part:.4f}" max="1"></progress><div class="tiles">{boxes}</div></header>'
    )


def last_numbers(records: Sequence[Record]) -> list[tuple[str, str]]:
    """The last loss, rate and scores."""
    out = []
    for key, name in (("smoothed_loss", "loss"), ("lr", "rate")):
        value = next((r[key] for r in reversed(records) if r.get(key) is not None), None)
        if value is not None:
            out.append((f"{value:.4g}", name))
    scored = last_scored(records)
    if scored:
        best = max(r["mean_iu"] for r in records if is_number(r.get("mean_iu")))
        out.append((f"{100 * scored['mean_iu']:.1f}", f"mean IU (best {100 * best:.1f})"))
        out.append((f"{100 * scored['pixel_acc']:.1f}", "pixel acc."))
    return out


def last_scored(records: Sequence[Record]) -> Record | None:
    """The last record with segmentation scores."""
    return next((r for r in reversed(records) if is_number(r.get("mean_iu"))), None)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def points(records: Sequence[Record], key: str, factor: float = 1.0) -> tuple[tuple[float, float], ...]:
    """(iteration, value) of every record that has it."""
    return tuple((r["iteration"], factor * r[key]) for r in records if is_number(r.get(key)))


def curves(records: Sequence[Record]) -> list[str]:
    """Loss, rate and scores."""
    train = [r for r in records if "test_net" not in r]
    tests = sorted({r["test_net"] for r in records if "test_net" in r})
    loss = [Series("loss", points(train, "loss"), faint=True), Series("smoothed", points(train, "smoothed_loss"))]
    rates = points(train, "lr")
    wide = len({y for _, y in rates if y > 0}) > 1 and max(y for _, y in rates) > 20 * min(y for _, y in rates if y > 0)
    charts = [chart("training loss", loss), chart("rate", [Series("rate", rates)], log=wide)]
    for number in tests:
        mine = [r for r in records if r.get("test_net") == number]
        which = f" of test net {number}" if len(tests) > 1 else ""
        charts.append(chart(f"loss in tests{which}", [Series("loss", points(mine, "loss"))]))
        scores = [Series(name, points(mine, key, 100.0)) for key, name in SCORES.items()]
        charts.append(chart(f"scores in %{which}", scores, top=100.0))
    inside = "".join(f"<figure>{c}</figure>" for c in charts if c)
    if not inside:
        return ['<section><h2>Curves</h2><p class="dim">nothing is logged yet</p></section>']
    return [f'<section><h2>Curves</h2><div class="charts">{inside}</div></section>']


def classes(records: Sequence[Record]) -> str:
    """A bar for the IU of every class, at the last test."""
    scored = last_scored(records)
    if not scored or not scored.get("iu"):
        return ""
    values, names, palette = scored["iu"], class_names(len(scored["iu"])), voc_palette()
    rows = []
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        red, green, blue = (int(c) for c in palette[k % len(palette)])
        bar = f'<rect width="{200 * value:.1f}" height="10" rx="2"/>' if is_number(value) else ""
        text = f"{100 * value:.1f}" if is_number(value) else "absent"
        rows.append(
            f'<tr><td><svg class="dot" viewBox="0 0 12 12"><rect width="12" height="12" rx="2" '
            f'fill="rgb({red},{green},{blue})"/></svg>{escape(name)}</td>'
            f'<td><svg class="bar" viewBox="0 0 200 10">{bar}</svg></td><td class="n">{text}</td></tr>'
        )
    table = "".join(rows)
    return (
        f'<section><h2>IU of each class</h2><p class="dim">at iteration {scored["iteration"]:,}</p>'
        f'<table class="classes">{table}</table></section>'
    )


def pictures(run: Run) -> str:
    """Images, truth and prediction."""
    if not run.samples:
        return ""
    rows = "".join(
        f"<tr><td>{escape(s.word)}<br><span>image {s.number + 1}, mean IU {percent(s.mean_iu)}</span></td>"
        + "".join(f'<td><img src="{u}" alt="{a}"></td>' for u, a in pictured(s))
        + "</tr>"
        for s in run.samples
    )
    return (
        f'<section><h2>Validation images</h2><p class="dim">at iteration {run.sampled_at:,}</p><table class="images">'
        f"<tr><th></th><th>image</th><th>truth</th><th>prediction</th></tr>{rows}</table></section>"
    )


def pictured(sample: Sample) -> tuple[tuple[str, str], ...]:
    return (sample.image, "image"), (sample.truth, "truth"), (sample.prediction, "prediction")


def percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "none"


def recipe(run: Run) -> str:
    """The solver's fields; where they differ the published ones beside."""
    if not run.settings:
        return ""
    differing = sum(s.published is not None for s in run.settings)
    told = f"{differing} fields differ from the published {escape(run.published)}" if run.published else ""
    rows = "".join(
        f"<tr{' class=differs' if s.published is not None else ''}><td>{escape(s.field)}</td><td>{escape(s.value)}</td>"
        + (f"<td>{escape(s.published or '')}</td>" if run.published else "")
        + "</tr>"
        for s in run.settings
    )
    third = "<th>published, where it differs</th>" if run.published else ""
    return (
        f'<section><h2>Recipe</h2><p class="dim">{told}</p><table class="recipe">'
        f"<tr><th>field</th><th>this run</th>{third}</tr>{rows}</table></section>"
    )


def net(run: Run) -> str:
    return f'<section><h2>Net</h2><div class="net">{run.net}</div></section>' if run.net else ""


def full_style() -> str:
    """The page's style in both themes."""
    series = {
        "light": ("#3f6fb5", "#c8791f", "#4a9a5c", "#8a5fb8"),
        "dark": ("#7ba7ea", "#e0a04f", "#6cc080", "#b48de6"),
    }
    light, dark = ("".join(f"--s{n}:{c};" for n, c in enumerate(series[theme])) for theme in ("light", "dark"))
    return (
        f":root{{color-scheme:light dark;{variables(LIGHT)}{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}{dark}}}}}\n{STYLE}"
    )


STYLE = """
body { margin: 0; background: var(--paper); color: var(--text);
  font: 14px/1.5 "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 17px; margin: 34px 0 6px; }
p { margin: 2px 0 8px; } header p, .dim, td span { color: var(--dim); }
progress { width: 100%; height: 6px; accent-color: var(--s0); }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 12px; }
.tiles div { background: var(--block); border: 1px solid var(--block-line); border-radius: 8px; padding: 8px 16px; }
.tiles b { display: block; font-size: 19px; } .tiles span { color: var(--dim); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; background: var(--block); border: 1px solid var(--block-line); border-radius: 8px; padding: 8px; }
.chart { display: block; width: 100%; }
.chart text { fill: var(--text); font-size: 11px; } .chart .name { font-size: 12.5px; font-weight: 600; }
.chart .tick, .chart .key { fill: var(--dim); } .end { text-anchor: end; } .mid { text-anchor: middle; }
.grid { stroke: var(--block-line); stroke-width: .6; fill: none; }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.s0 { stroke: var(--s0); } circle.s0 { fill: var(--s0); } .s1 { stroke: var(--s1); } circle.s1 { fill: var(--s1); }
.s2 { stroke: var(--s2); } circle.s2 { fill: var(--s2); } .s3 { stroke: var(--s3); } circle.s3 { fill: var(--s3); }
.faint { opacity: .35; stroke-width: 1; }
table { border-collapse: collapse; } td, th { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: normal; border-bottom: 1px solid var(--block-line); }
td { overflow-wrap: anywhere; }
.classes td { white-space: nowrap; padding-top: 1px; padding-bottom: 1px; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.dot { width: 12px; height: 12px; margin-right: 8px; vertical-align: -1px; } .bar { width: 240px; height: 12px; }
.bar rect { fill: var(--s0); }
.images td { padding: 6px 10px 6px 0; }
.images img { display: block; width: 100%; max-width: 300px; border-radius: 4px; }
.recipe td:first-child { white-space: nowrap; }
.recipe tr.differs { background: var(--changed); }
.net { background: #fff; border: 1px solid var(--block-line); border-radius: 8px; padding: 4px; overflow: auto; }
.net svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
@media (max-width: 700px) { .net svg { max-width: 220vw; } }
"""
