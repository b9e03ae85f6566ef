"""summary: what `show` tells of a net: a row per layer, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netspec.errors import SpecError
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.layers.base import Shape
from netspec.passes.bind import Bound, bind
from netspec.passes.coord_maps import ReceptiveField, receptive_fields
from netspec.passes.cost import Cost, activation_memory, cost
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.loss_weights import loss_weights
from netspec.passes.needs_backward import needs_backward
from netspec.passes.parameters import parameters


@dataclass(frozen=True)
class Row:
    """One layer: the shapes of its tops, its cost, and what a cell of its first top sees, where places correspond."""

    spec: LayerSpec
    shapes: tuple[Shape, ...]
    cost: Cost
    field: ReceptiveField | None


@dataclass(frozen=True)
class Summary:
    """Rows and totals; `assumed` are input shapes nobody gave, memory is in bytes (training, testing)."""

    rows: tuple[Row, ...]
    assumed: dict[str, Shape]
    memory: tuple[int, int]
    batch: int

    @property
    def params(self) -> int:
        return sum(row.cost.params for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.cost.macs for row in self.rows)


def summary(graph: Graph, given: Mapping[str, Shape] | None = None) -> Summary:
    """The numbers of a net, without its data."""
    inputs = data_to_input(graph, given)
    bound = bind(inputs.graph)
    try:
        shapes = infer_shapes(bound, given)
        table = parameters(bound, shapes)
    except SpecError as e:
        raise with_hint(e, inputs.assumed) from None
    needs = needs_backward(bound, table, loss_weights(bound))
    fields = seen(bound)
    rows = tuple(
        Row(spec, tuple(shapes[t] for t in spec.tops), c, fields.get(spec.tops[0]) if spec.tops else None)
        for (spec, _), c in zip(bound, cost(bound, shapes, table), strict=True)
    )
    first = next((shapes[t] for t in bound.graph.inputs if shapes[t]), ())
    return Summary(rows, inputs.assumed, activation_memory(bound, shapes, needs), first[0] if len(first) > 1 else 1)


def with_hint(error: SpecError, assumed: Mapping[str, Shape]) -> SpecError:
    """A misfit of shapes, some of which may only have been assumed; a name of no input has no place and no hint."""
    if not assumed or error.loc is None:
        return error
    guesses = ", ".join(f"{blob} {'x'.join(map(str, shape))}" for blob, shape in assumed.items())
    return SpecError(f"{error.message}; the input shapes were assumed ({guesses}): give them", error.loc)


def seen(bound: Bound) -> dict[Blob, ReceptiveField]:
    """Receptive fields; none for a net whose maps do not fit together."""
    try:
        return receptive_fields(bound)
    except SpecError:
        return {}
