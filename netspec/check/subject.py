"""What the rules look at: a net or solver file, read once, with what can be worked out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec.errors import Loc, SpecError
from netspec.ir.graph import Blob, Graph, LayerSpec
from netspec.ir.lower import PHASES, lower
from netspec.layers import layer_class
from netspec.layers.base import Shape
from netspec.passes.bind import Bound, bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.loss_weights import loss_weights
from netspec.passes.parameters import Parameter, parameters
from netspec.spec import binary
from netspec.spec.text import Document, Place
from netspec.spec.upgrade import upgrade_net, upgrade_solver
from netspec.weights.model import Model


@dataclass(frozen=True)
class Edit:
    """A change of the text at a place: the first match of `pattern` from there on becomes `replacement`."""

    loc: Loc
    pattern: str
    replacement: str


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where; `edit` puts it right where that is safe."""

    message: str
    loc: Loc
    edit: Edit | None = None


class View:
    """A net in one phase: its graph, layers, shapes and parameters, without its data.

    `errors` are misfits of shapes; below one, shapes and parameters are unknown. They are the file's fault unless
    shapes were `assumed`.
    """

    def __init__(self, net: NetFile, phase: str) -> None:
        self.net = net
        self.graph: Graph = lower(net.document, phase)
        inputs = data_to_input(self.graph)
        for error in inputs.unknown:
            raise error
        self.assumed = set(inputs.assumed)
        self.bound: Bound = bind(inputs.graph)
        failed: dict[int, SpecError] = {}
        self.shapes: dict[Blob, Shape] = infer_shapes(self.bound, failed=failed)
        self.table: tuple[Parameter, ...] = ()
        try:
            self.table = parameters(self.bound, self.shapes)
        except SpecError as e:
            failed[len(self.graph.layers)] = e
        self.errors = [e for n, e in failed.items() if not self.own_code(n)]
        self.losses = loss_weights(self.bound)
        self.readers = self.graph.readers()
        self.writers = self.graph.writers()
        self.reading: dict[Blob, list[int]] = {blob: [] for blob in self.graph.blobs}
        for n, spec in enumerate(self.graph.layers):
            for bottom in spec.bottoms:
                self.reading[bottom].append(n)

    def own_code(self, number: int) -> bool:
        """Whether a layer is code of the user's own, of which nothing is known."""
        return number < len(self.graph.layers) and self.graph.layers[number].type == "Python"

    @property
    def complete(self) -> bool:
        """Whether all shapes and parameters are known."""
        return not self.errors and all(blob in self.shapes for blob in self.bound.graph.blobs)

    def bottom_shape(self, number: int, bottom: int = 0) -> Shape | None:
        """The shape of what a layer reads, if it is known."""
        return self.shapes.get(self.graph.layers[number].bottoms[bottom])

    @property
    def trains(self) -> bool:
        """Whether the net has a loss."""
        return bool(self.losses)

    def params(self, number: int) -> list[Parameter]:
        """A layer's parameter blobs."""
        return [p for p in self.table if p.layer == number]

    def find(self, type: str) -> Iterator[tuple[int, LayerSpec]]:
        """Layers of a type, with their positions."""
        return ((n, spec) for n, spec in enumerate(self.graph.layers) if spec.type == type)


class NetFile:
    """A net file; `stored` are the weights it is to be used with, if any."""

    def __init__(self, path: str, written: Document | None = None, stored: Model | None = None) -> None:
        self.path = path
        self.written = written or binary.read_any(path)
        self.stored = stored

    @cached_property
    def document(self) -> Document:
        """The net in today's form."""
        document = upgrade_net(self.written)
        places = document.place.fields.setdefault("layer", [])
        places += [Place(document.place.loc) for _ in range(len(document.message.layer) - len(places))]
        return document

    @cached_property
    def views(self) -> dict[str, View]:
        """The phases that the net can be built in; raises if it is none."""
        found, errors = {}, []
        for phase in PHASES if self.phased else PHASES[:1]:
            try:
                found[phase] = View(self, phase)
            except SpecError as e:
                errors.append(e)
        if not found:
            raise errors[0]
        return found

    @property
    def phased(self) -> bool:
        """Whether any layer depends on the phase."""
        rules = (r for layer in self.document.message.layer for r in (*layer.include, *layer.exclude))
        return any(rule.HasField("phase") for rule in rules)


class SolverFile:
    """A solver file and the nets it names, as far as they are there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.written = binary.read_any(path, "SolverParameter")

    @cached_property
    def document(self) -> Document:
        return upgrade_solver(self.written)

    @property
    def message(self) -> Any:
        return self.document.message

    def loc(self, field: str) -> Loc:
        return self.document.place.of(field)

    @cached_property
    def train(self) -> View | None:
        """The training net in its phase, or in its other one where rules leave no choice."""
        message = self.message
        inside = next((f for f in ("train_net_param", "net_param") if message.HasField(f)), None)
        net = self._inside(inside) if inside else self._beside(message.train_net or message.net)
        return (net.views.get("TRAIN") or next(iter(net.views.values()), None)) if net else None

    @cached_property
    def tests(self) -> list[Graph | None]:
        """The test nets, one per test_iter; None for those that are not there."""
        message = self.message
        own = [self._inside("test_net_param", n) for n in range(len(message.test_net_param))]
        own += [self._beside(path) for path in message.test_net]
        left = len(message.test_iter) - len(own)
        if left > 0:
            own += [self._inside("net_param") if message.HasField("net_param") else self._beside(message.net)] * left
        return [net and lower(net.document, "TEST") for net in own]

    def _beside(self, path: str) -> NetFile | None:
        """A net in a file, looked for beside the solver and from the current folder."""
        places = (Path(self.path).parent / path, Path(path))
        return next((NetFile(str(found)) for found in places if path and found.is_file()), None)

    def _inside(self, field: str, number: int = 0) -> NetFile:
        """A net that stands in the solver itself."""
        value, places = getattr(self.message, field), self.document.place.fields[field]
        message = value[number] if field == "test_net_param" else value
        return NetFile(self.path, Document(message, places[number]))


def is_loss(spec: LayerSpec) -> bool:
    """Whether a layer is of a loss type."""
    return bool(spec.bottoms) and layer_class(spec.type).loss


def name(spec: Any) -> str:
    """A layer, or its message, as findings call it."""
    return f"layer '{spec.name}' ({spec.type})"
