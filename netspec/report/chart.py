"""Curves over iterations as SVG, coloured by the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from netspec.draw.theme import width

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 30
MOST = 500
"""Points that are drawn of one curve."""


@dataclass(frozen=True)
class Series:
    """A curve: its name, points, and whether it stands behind the others in a faint colour."""

    name: str
    points: tuple[tuple[float, float], ...]
    faint: bool = False


def chart(title: str, series: Sequence[Series], log: bool = False, top: float | None = None) -> str:
    """The curves in one frame; nothing where there are no points. `log`: y as powers of ten; `top`: where y ends."""
    shown = [Series(s.name, thinned(finite(s.points, log)), s.faint) for s in series]
    shown = [s for s in shown if s.points]
    if not shown:
        return ""
    values = [y for s in shown for _, y in s.points]
    x_axis = Axis.over([x for s in shown for x, _ in s.points], LEFT, WIDTH - RIGHT)
    y_axis = Axis.over([*values, *([0.0, top] if top else [])], HEIGHT - BOTTOM, TOP, log)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    parts = [head, f'<text x="{LEFT}" y="14" class="name">{escape(title)}</text>', *grid(x_axis, y_axis)]
    for n, s in enumerate(shown):
        parts.append(curve(s, n, x_axis, y_axis))
    return "".join([*parts, *key(shown), "</svg>"])


@dataclass(frozen=True)
class Axis:
    """Values to pixels, straight or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, log: bool = False) -> Axis:
        low, high = min(values), max(values)
        if log:
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        if low == high:
            low, high = (low / 10, high * 10) if log else (low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5)
        return cls(low, high, start, end, log)

    def at(self, value: float) -> float:
        low, high = (math.log10(v) if self.log else v for v in (self.low, self.high))
        part = ((math.log10(value) if self.log else value) - low) / (high - low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about five; powers of ten on a logarithmic axis."""
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**k for k in range(first, last + 1, max(1, (last - first) // 5))]
        rough = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        return [k * step for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def finite(points: Sequence[tuple[float, float]], log: bool) -> list[tuple[float, float]]:
    """Points that can be drawn."""
    return [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)]


def thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most MOST points: of each stretch the lowest and the highest, so that no peak is lost."""
    if len(points) <= MOST:
        return tuple(points)
    size = 2 * len(points) / MOST
    out: list[tuple[float, float]] = []
    for k in range(MOST // 2):
        part = points[int(k * size) : int((k + 1) * size)]
        out += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return tuple(out)


def grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    """Lines and numbers of both axes."""
    out = []
    for value in y_axis.ticks():
        y = y_axis.at(value)
        out.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text x="{LEFT - 7}" y="{y + 3.5:.1f}" class="tick end">{short(value)}</text>')
    for value in x_axis.ticks():
        x = x_axis.at(value)
        out.append(f'<path class="grid" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>')
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" class="tick mid">{short(value)}</text>')
    return out


def curve(series: Series, n: int, x_axis: Axis, y_axis: Axis) -> str:
    """One curve, its last point marked."""
    at = [(x_axis.at(x), y_axis.at(y)) for x, y in series.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    x, y = at[-1]
    last = series.points[-1]
    look = f"s{n}{' faint' if series.faint else ''}"
    dot = f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    tip = f"<title>{escape(series.name)}: {last[1]:g} at {last[0]:g}</title>"
    return f'<g>{tip}<path class="curve {look}" d="M{path}"/>{"" if series.faint else dot}</g>'


def key(series: Sequence[Series]) -> list[str]:
    """Names and last values, on the right above."""
    out = []
    x = float(WIDTH - RIGHT)
    for n, s in reversed(list(enumerate(series))):
        words = f"{s.name} {short(s.points[-1][1])}"
        out.append(f'<text x="{x:.1f}" y="14" class="key end">{escape(words)}</text>')
        x -= width(words, 11) + 8
        out.append(f'<circle class="s{n}{" faint" if s.faint else ""}" cx="{x:.1f}" cy="10.5" r="4"/>')
        x -= 13
    return out


def short(value: float) -> str:
    """A number of few digits: 20000 -> 20k, 0.0001 -> 1e-4."""
    if value and abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
