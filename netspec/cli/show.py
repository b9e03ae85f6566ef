"""netspec show: a net as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.cli._net import has_phase_rules, in_phases, read_net, state_options
from netspec.cli._page import dims, fits, number, page, shown, text

if TYPE_CHECKING:
    from rich.table import Table

    from netspec.passes.coord_maps import ReceptiveField
    from netspec.passes.summary import Row, Summary

EDGES = "bottoms → tops"
COLUMNS: tuple[str, ...] = (
    *("layer", "type", EDGES, "top shapes"),
    *("params", "MACs", "memory", "stride", "field", "offset"),
)


@verb()
@click.argument("net", type=click.Path())
@opt.shape
@state_options
@click.option("--json", "as_json", is_flag=True, help="JSON, one object.")
def command(
    net: str, shape: tuple[str, ...], phase: str | None, level: int, stages: tuple[str, ...], as_json: bool
) -> None:
    """Show a net's layers, shapes, parameters, multiply-accumulates, memory, strides and receptive fields.

    Nothing is computed and no data is read: shapes that the net does not say are assumed, which a note says. A net
    with phase rules is shown in phase TRAIN unless --phase says otherwise.

    Example: netspec show prototxt/voc-fcn8s/train.prototxt --shape data=1x3x375x500
    """
    from netspec.passes.summary import summary

    document = read_net(net)
    graphs, errors = in_phases(document, [phase] if phase else ["TRAIN", "TEST"], level, stages)
    found, graph = next(iter(graphs.items()))
    result = summary(graph, opt.read_shapes(shape))
    if as_json:
        click.echo(json.dumps(data(net, found, graph.name, result), indent=2))
        return
    notes = [*result.unknown]
    notes += [f"{b} assumed to be {dims(s)}; --shape {b}=… says otherwise" for b, s in result.assumed.items()]
    if not phase and (has_phase_rules(document) or errors):
        notes.append(f"phase {found}; --phase {'TEST' if found == 'TRAIN' else 'TRAIN'} for the other")
    head = text((f"{shown(graph.name) or shown(net)}", "bold"), f"  {len(graph.layers)} layers")
    page(head, text(""), *fitting(result), *totals(result), *[text(("note: ", "yellow"), n) for n in notes])


def fitting(result: Summary) -> list[Any]:
    """The table; on a terminal too narrow for it one with fewer columns, each layer still on one line."""
    variants = [
        table(result, COLUMNS),
        table(result, COLUMNS, short=True),
        table(result, [c for c in COLUMNS if c not in (EDGES, "offset")]),
        table(result, ["layer", "top shapes", "params", "MACs", "stride", "field"]),
    ]
    chosen = next((t for t in variants if fits(t)), variants[-1])
    dropped = [c for c in COLUMNS if c not in [str(column.header) for column in chosen.columns]]
    note = (
        [text(("note: ", "yellow"), f"a wider terminal, or --json, shows {', '.join(dropped)} too")] if dropped else []
    )
    return [chosen, text(""), *note]


def table(result: Summary, columns: Sequence[str], short: bool = False) -> Table:
    """A row per layer."""
    from rich.table import Table
    from rich.text import Text

    out = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in columns:
        out.add_column(title, justify="left" if title in COLUMNS[:4] else "right", no_wrap=True)
    for row in result.rows:
        cells = dict(zip(COLUMNS, cells_of(row, short), strict=True))
        out.add_row(*[Text(shown(cells[title])) for title in columns])
    return out


def cells_of(row: Row, short: bool) -> list[str]:
    """What stands in each of the columns."""
    wiring = short_edges(row) if short else edges(row)
    shapes = ", ".join(map(dims, row.shapes)) if row.shapes else "?" * bool(row.spec.tops)
    return [row.spec.name, row.spec.type, wiring, shapes, *numbers(row)]


def edges(row: Row) -> str:
    """`data → conv1`; layers without bottoms show their tops alone."""
    sides = [", ".join(b.name for b in side) for side in (row.spec.bottoms, row.spec.tops)]
    return " → ".join(side for side in sides if side)


def short_edges(row: Row) -> str:
    """The bottoms; tops only where they are neither the layer's name nor in place."""
    bottoms, tops = ([b.name for b in side] for side in (row.spec.bottoms, row.spec.tops))
    if tops in ([row.spec.name], bottoms):
        return ", ".join(bottoms)
    return edges(row)


def numbers(row: Row) -> list[str]:
    """Parameters, MACs, memory, stride, field and offset; nothing where there is nothing."""
    from netspec.passes.infer_shapes import size_text

    cost = row.cost
    counts = [number(n) if n else "" for n in (cost.params, cost.macs)]
    return [*counts, size_text(cost.memory) if cost.memory else "", *field_text(row.field)]


def field_text(field: ReceptiveField | None) -> list[str]:
    """Stride, size and offset of the receptive field in input pixels."""
    if field is None:
        return ["", "", ""]
    numbers = ([f"{float(v):g}" for v in axes] for axes in (field.stride, field.size, field.offset))
    return ["x".join(dict.fromkeys(axes)) for axes in numbers]


def totals(result: Summary) -> list[Any]:
    """Parameters, multiply-accumulates, memory."""
    from netspec.passes.infer_shapes import size_text

    training, testing = result.memory
    each = f", {number(result.macs / result.batch)} for one of the batch of {result.batch}" if result.batch > 1 else ""
    rows = (
        ("parameters", f"{result.params:,} ({size_text(4 * result.params)})"),
        ("MACs", f"{result.macs:,} ({number(result.macs)}){each}"),
        ("activations", f"{size_text(training)} in training (with gradients), {size_text(testing)} in testing"),
    )
    return [text((f"{name:<12}", "bold"), value) for name, value in rows]


def data(net: str, phase: str, name: str, result: Summary) -> dict[str, Any]:
    """The same for programs: counts, bytes, input pixels."""
    return {
        "net": net,
        "name": name,
        "phase": phase,
        "layers": [row_data(row) for row in result.rows],
        "assumed": {blob: list(shape) for blob, shape in result.assumed.items()},
        "params": result.params,
        "macs": result.macs,
        "batch": result.batch,
        "memory": {"training": result.memory[0], "testing": result.memory[1]},
    }


def row_data(row: Row) -> dict[str, Any]:
    spec, field = row.spec, row.field
    return {
        "name": spec.name,
        "type": spec.type,
        "bottoms": [b.name for b in spec.bottoms],
        "tops": [t.name for t in spec.tops],
        "shapes": [list(s) for s in row.shapes],
        "params": row.cost.params,
        "macs": row.cost.macs,
        "memory": row.cost.memory,
        "stride": None if field is None else [float(v) for v in field.stride],
        "field": None if field is None else [float(v) for v in field.size],
        "offset": None if field is None else [float(v) for v in field.offset],
    }
