"""summary: what `show` tells of a net: a row per layer, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netspec.errors import SpecError, UnknownLayer
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.layers import layer_class
from netspec.layers.base import Context, Shape
from netspec.layers.python import Unknown
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
    """Rows and totals; `assumed` are input shapes nobody gave, memory is in bytes (training, testing).

    `unknown` says, a line each, which layers nothing here computes; what reads them has no shapes either.
    """

    rows: tuple[Row, ...]
    assumed: dict[str, Shape]
    memory: tuple[int, int]
    batch: int
    unknown: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        return sum(row.cost.params for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.cost.macs for row in self.rows)


def summary(graph: Graph, given: Mapping[str, Shape] | None = None) -> Summary:
    """The numbers of a net, without its data."""
    inputs = data_to_input(graph, given)
    known, errors = known_part(inputs.graph)
    bound = bind(replace(inputs.graph, layers=tuple(inputs.graph.layers[n] for n in known)))
    try:
        shapes = infer_shapes(bound, given)
        table = parameters(bound, shapes)
    except SpecError as e:
        raise with_hint(e, inputs.assumed) from None
    needs = needs_backward(bound, table, loss_weights(bound))
    fields = seen(bound)
    rows = [Row(spec, (), Cost(0, 0, 0), None) for spec in inputs.graph.layers]
    for n, (spec, _), c in zip(known, bound, cost(bound, shapes, table), strict=True):
        field = fields.get(spec.tops[0]) if spec.tops else None
        rows[n] = Row(spec, tuple(shapes[t] for t in spec.tops), c, field)
    first = next((shapes[t] for t in bound.graph.inputs if shapes[t]), ())
    memory = activation_memory(bound, shapes, needs)
    batch = first[0] if len(first) > 1 else 1
    unknown = [f"{e.loc}: {e.message}; taken for a data layer" for e in inputs.unknown]
    unknown += [f"{e.loc}: {e.message}; shown without shapes" for e in errors]
    return Summary(tuple(rows), inputs.assumed, memory, batch, tuple(unknown))


def known_part(graph: Graph) -> tuple[list[int], list[SpecError]]:
    """Positions of the layers whose shapes can be told, and the errors of those that nothing here computes."""
    known, errors = [], []
    lost: set[Blob] = set()
    for n, spec in enumerate(graph.layers):
        try:
            layer = layer_class(spec.type)(spec.proto, Context(graph.phase))
            if isinstance(layer, Unknown):
                layer.shapes(())  # says what it is
        except UnknownLayer as e:
            errors.append(spec.error(e.message, e.field))
            lost.update(spec.tops)
        except SpecError:
            pass  # whoever binds the layer tells it
        if lost.intersection((*spec.bottoms, *spec.tops)):
            lost.update(spec.tops)
        else:
            known.append(n)
    return known, errors


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
