"""The planes of a chain of layers: what each of them computes, beside the constants around it.

Layers up to one with a stride are a stage. Without gradients a stage of large maps is run some rows at a time, so that
of the maps inside it no more than those rows exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from netspec.layers.spatial import layout_of
from netspec.margins import Cells, bordered, continued, cut
from netspec.passes.halo_elision import Level, Plan, Span
from netspec.step import Step

LARGE, BAND = 2**25, 2**24
"""Bytes of a stage's largest map from which it is run in bands, and about those of the largest map of a band."""


@dataclass(frozen=True)
class Plane:
    """The values on some rows and columns of a map, and the constant that the others hold."""

    x: Tensor
    rows: Span
    columns: Span
    around: Tensor


def planes(
    steps: Sequence[Step], x: Tensor, consts: Sequence[Tensor], found: Plan, wanted: Sequence[int], recompute: bool
) -> Iterator[tuple[int, Tensor]]:
    """The wanted layers' tops within their planes, in turn; with `recompute`, backward runs each stage again."""
    bottom = Plane(x, Span(0, x.shape[2]), Span(0, x.shape[3]), x.new_zeros(1, x.shape[1], 1, 1))
    for stage in stages(steps):
        last, bands = stage[-1], bands_of(steps, bottom, consts, found, stage, wanted)
        if bands:
            tops = {last: run_bands(steps, bottom, consts, found, stage, bands)}
        else:
            args = steps, bottom, consts, found, stage, wanted
            tops = checkpoint(run_stage, *args, use_reentrant=False) if recompute else run_stage(*args)
        bottom = Plane(tops[last], found.rows[last].plane, found.columns[last].plane, consts[last])
        yield from ((i, y) for i, y in tops.items() if i in wanted)


def stages(steps: Sequence[Step]) -> list[list[int]]:
    """Positions in the chain, cut behind each layer of a stride."""
    out: list[list[int]] = [[]]
    for i, step in enumerate(steps):
        out[-1].append(i)
        window = step.layer.sliding()
        if window is not None and max(window.stride) > 1 and i + 1 < len(steps):
            out.append([])
    return out


def run_stage(
    steps: Sequence[Step], at: Plane, consts: Sequence[Tensor], found: Plan, stage: Sequence[int], wanted: Sequence[int]
) -> dict[int, Tensor]:
    """The last top of a stage and the wanted ones, each on its whole plane; `at` is the stage's bottom."""
    tops = {}
    for i in stage:
        row, column = found.rows[i], found.columns[i]
        at = Plane(advance(steps[i], at, consts[i], row, column), row.plane, column.plane, consts[i])
        if i in wanted or i == stage[-1]:
            tops[i] = at.x
    return tops


def advance(step: Step, at: Plane, const: Tensor, row: Level, column: Level) -> Tensor:
    """One layer on its plane; `const` is the constant around its top."""
    window = step.layer.sliding()
    if window is not None and row.slide.keeps_place and column.slide.keeps_place:
        x = fit(at, row.plane, column.plane)
        y = step.layer.slide(x, step.params(), window.pad)
        return bordered(y, const, within(y.shape[2:], window.pad))  # zero padding has spoiled the edge
    return advance_rows(step, at, row, column, row.plane)


def advance_rows(step: Step, at: Plane, row: Level, column: Level, rows: Span) -> Tensor:
    """Some rows of one layer's plane, from all that they read."""
    x = fit(at, row.slide.needs(rows), column.slide.needs(column.plane))
    if step.layer.sliding() is not None:
        return step.layer.slide(x, step.params(), (0, 0))
    return run_layer(step, x if x.shape == at.x.shape or not torch.is_grad_enabled() else x.clone())


def run_layer(step: Step, x: Tensor) -> Tensor:
    return step.forward([x])[0]


def bands_of(
    steps: Sequence[Step],
    bottom: Plane,
    consts: Sequence[Tensor],
    found: Plan,
    stage: Sequence[int],
    wanted: Sequence[int],
) -> list[Span]:
    """Rows of a stage's last plane that are run one after the other; none where the stage is run whole.

    A stage that starts with a pixelwise layer is, since that may write on the bottom, of which bands share rows.
    """
    if torch.is_grad_enabled() or bottom.x.is_cuda or not set(wanted).isdisjoint(stage[:-1]):
        return []
    planes = [consts[i].nbytes * len(found.rows[i].plane) * len(found.columns[i].plane) for i in stage]
    largest = max(planes) * len(bottom.x)
    if largest <= LARGE or steps[stage[0]].layer.sliding() is None:
        return []
    rows = found.rows[stage[-1]].plane
    high = max(1, len(rows) * BAND // largest)
    return [Span(lo, min(rows.hi, lo + high)) for lo in range(rows.lo, rows.hi, high)]


def run_bands(
    steps: Sequence[Step],
    bottom: Plane,
    consts: Sequence[Tensor],
    found: Plan,
    stage: Sequence[int],
    bands: Sequence[Span],
) -> Tensor:
    """The last top of a stage, band by band."""
    rows, columns = found.rows[stage[-1]].plane, found.columns[stage[-1]].plane
    top: Tensor | None = None
    for band in bands:
        part = run_band(steps, bottom, consts, found, stage, band)
        if top is None:
            size = len(part), part.shape[1], len(rows), len(columns)
            top = torch.empty(size, dtype=part.dtype, device=part.device, memory_format=layout_of(part))
        top[:, :, cells(band, rows)] = part
    assert top is not None
    return top


def run_band(
    steps: Sequence[Step], at: Plane, consts: Sequence[Tensor], found: Plan, stage: Sequence[int], band: Span
) -> Tensor:
    """Rows of the last top of a stage, from the rows of each layer before it that they need."""
    needed = [band]
    for i, before in zip(reversed(stage[1:]), reversed(stage[:-1]), strict=True):
        needed.append(found.rows[i].slide.needs(needed[-1]).common(found.rows[before].plane))
    for i, rows in zip(stage, reversed(needed), strict=True):
        row, column = found.rows[i], found.columns[i]
        at = Plane(advance_rows(steps[i], at, row, column, rows), rows, column.plane, consts[i])
    return at.x


def fit(at: Plane, rows: Span, columns: Span) -> Tensor:
    """A map on another plane: cut, and continued by its constant."""
    inner = rows.common(at.rows), columns.common(at.columns)
    x = at.x if inner == (at.rows, at.columns) else cut(at.x, (cells(inner[0], at.rows), cells(inner[1], at.columns)))
    if inner == (rows, columns):
        return x
    return continued(x, at.around, (cells(inner[0], rows), cells(inner[1], columns)), (len(rows), len(columns)))


def cells(span: Span, origin: Span) -> slice:
    """The span as indices into a tensor that starts at `origin`."""
    return slice(span.lo - origin.lo, span.hi - origin.lo)


def within(size: Sequence[int], width: Sequence[int]) -> Cells:
    """All but an edge of that width."""
    rows, columns = (slice(p, n - p) for n, p in zip(size, width, strict=True))
    return rows, columns
