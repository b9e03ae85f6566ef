"""Net: a bound graph as a torch.nn.Module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from netspec.errors import LayerError, SpecError, suggestion
from netspec.fillers import fill
from netspec.halo import Halo
from netspec.ir.emit import emit
from netspec.ir.graph import Blob, Graph, LayerSpec, ancestors
from netspec.ir.lower import PHASES
from netspec.layers import Context
from netspec.layers.base import DataLayer, Shape
from netspec.layers.stored import blob_values
from netspec.passes.bind import Bound, bind, blame
from netspec.passes.halo_elision import halo_elision
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.insert_splits import insert_splits
from netspec.passes.loss_weights import loss_weights
from netspec.passes.needs_backward import needs_backward
from netspec.passes.parameters import Parameter, parameters
from netspec.passes.recomputation import Steps, Stretch, dead, recomputation
from netspec.passes.scale_fusion import scale_fusion
from netspec.recording import Recorder
from netspec.step import LayerBlobs, Step
from netspec.weights.mapped import pieces
from netspec.weights.model import Model, StoredLayer
from netspec.weights.report import LoadReport, fits, match


@dataclass(frozen=True)
class Course:
    """The layers that run for some wanted blobs, in order."""

    wanted: tuple[Blob, ...]
    stretches: Sequence[Stretch]
    numbers: frozenset[int]
    read: frozenset[Blob]
    """What these layers read, and the wanted blobs."""

    @property
    def steps(self) -> Steps:
        """All layers in order, each with the values that are dead after it."""
        return tuple(step for stretch in self.stretches for step in stretch.steps)


@dataclass
class Pass:
    """One run over a course: the values so far, and the layers that others have done."""

    course: Course
    inputs: Mapping[str, Tensor]
    drawn: bool
    """Whether the data layers' tops are among the values already."""
    values: dict[Blob, Tensor]
    done: set[int] = field(default_factory=set)


def dying_after(graph: Graph, numbers: Sequence[int], wanted: tuple[Blob, ...]) -> Steps:
    """These layers, each with the values that nobody wants after it."""
    dead_after: dict[Blob, int] = {}
    for n in numbers:
        for blob in (*graph.layers[n].tops, *graph.layers[n].bottoms):
            dead_after[blob] = n
    dying: dict[int, list[Blob]] = {n: [] for n in numbers}
    for blob, n in dead_after.items():
        if blob not in wanted:
            dying[n].append(blob)
    return tuple((n, tuple(dying[n])) for n in numbers)


@dataclass(frozen=True)
class Loss:
    """The net's loss: `value` = Σ weight · blob, and what to propagate back: blobs and their gradients."""

    value: Tensor
    blobs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    refused: tuple[SpecError, ...] = ()

    def backward(self) -> None:
        """Adds the gradient of the loss to every parameter's `grad`; raises where a layer refuses one."""
        if self.refused:
            raise self.refused[0]
        if self.blobs:
            torch.autograd.backward(self.blobs, self.gradients)


class Net(nn.Module):
    """A net in one phase. `net(data=x)` gives the output blobs, `net(data=x, blobs=["fc7"])` any others.

    Parameters are `<layer>.weight`, `<layer>.bias`, ... in `state_dict()`, filled as the fillers say. The phase was
    chosen when the graph was made; `train()` and `eval()` do not change it.
    """

    def __init__(self, graph: Graph, context: Context | None = None, shapes: Mapping[str, Shape] | None = None) -> None:
        super().__init__()
        self.context = context or Context()
        self.bound: Bound = bind(graph, self.context)
        self.graph = self.bound.graph
        self.blob_shapes = infer_shapes(self.bound, shapes)
        self.table = parameters(self.bound, self.blob_shapes)
        self.owners = [entry for position, entry in enumerate(self.table) if entry.owner == position]
        """Every parameter blob once."""
        self.losses = loss_weights(self.bound)
        self.needs = needs_backward(self.bound, self.table, self.losses)
        self.steps = self._make_steps()
        self.last = self.graph.last()
        self._courses: dict[tuple[Blob, ...], Course] = {}
        mark_overwrites(self.bound)
        chains = () if "halo_elision" in self.context.no_pass else halo_elision(self.bound)
        self.halos = {chain.layers[0]: Halo(chain, self.context.recompute) for chain in chains}
        self.scales = {} if "scale_fusion" in self.context.no_pass else scale_fusion(self.bound)
        self.innermost = False
        """Whether what comes in is laid out with channels innermost; most layers keep to the layout of their bottom."""
        self.chained: set[int] = set()
        """Layers of halos that the last pass ran in pieces."""
        self.recorder: Recorder | None = None
        """Set by `freeze` on a GPU."""

    def _make_steps(self) -> list[Step]:
        made: dict[int, nn.Parameter] = {}
        holders: dict[int, LayerBlobs] = {}
        for position, entry in enumerate(self.table):
            spec = self.graph.layers[entry.layer]
            if entry.owner == position:
                learned = any(self.needs.params[p.layer][p.index] for p in self.table if p.owner == position)
                with blame(spec):
                    made[position] = nn.Parameter(first_values(spec, entry), requires_grad=learned)
            holder = holders.setdefault(entry.layer, LayerBlobs())
            holder.register_parameter(entry.blob.name, made[entry.owner])
        for number, holder in holders.items():
            self._modules[self._module_name(number)] = holder
        return [
            Step(
                spec,
                layer,
                holders.get(number),
                tuple(p.blob.shape for p in self.table if p.layer == number),
                self.needs.bottoms[number],
                self.needs.params[number],
            )
            for number, (spec, layer) in enumerate(self.bound)
        ]

    def _module_name(self, number: int) -> str:
        """The layer's name; a second layer of the same name gets a number. Set past add_module, which refuses dots."""
        name = self.graph.layers[number].name
        return name if name not in self._modules else f"{name}#{number}"

    def forward(self, blobs: Iterable[str] | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        """Output blobs, or the ones named. Data layers bring their own inputs."""
        wanted = self.graph.outputs if blobs is None else tuple(self.blob(name) for name in blobs)
        values = self._replay(self.recorder, wanted, inputs) if self.recorder else self.run(wanted, inputs)
        return {blob.name: values[blob] for blob in wanted}

    def _replay(self, recorder: Recorder, wanted: tuple[Blob, ...], inputs: Mapping[str, Tensor]) -> dict[Blob, Tensor]:
        """The wanted values, from a recorded pass where there is one."""
        drawn = self.draw()
        names, blobs = list(inputs), list(drawn)
        given = [*inputs.values(), *drawn.values()]

        def run(tensors: Sequence[Tensor]) -> dict[Blob, Tensor]:
            named = dict(zip(names, tensors, strict=False))
            return self.run(wanted, named, dict(zip(blobs, tensors[len(names) :], strict=True)))

        if any(x.requires_grad for x in given):
            return run(given)
        return recorder.run((wanted, tuple(names)), run, given)

    def draw(self) -> dict[Blob, Tensor]:
        """The next tops of all data layers, on the net's device."""
        values: dict[Blob, Tensor] = {}
        for step in self.steps:
            if step.layer.is_data:
                values.update(zip(step.spec.tops, [self._placed(t) for t in step.run([])], strict=True))
        return values

    def _placed(self, tensor: Tensor) -> Tensor:
        """A tensor on the net's device; to a GPU from memory that can be copied while the processor goes on."""
        if self.device.type == "cuda" and not tensor.is_cuda:
            return self._laid(tensor.pin_memory().to(self.device, non_blocking=True))
        return self._laid(tensor.to(self.device))

    def _laid(self, tensor: Tensor) -> Tensor:
        innermost = self.innermost and tensor.ndim == 4
        return tensor.contiguous(memory_format=torch.channels_last) if innermost else tensor

    def reshaped(self, given: Mapping[str, Shape]) -> dict[Blob, Shape]:
        """All shapes for other shapes of the inputs, checked against the parameters; the net itself stays."""
        shapes = infer_shapes(self.bound, given)
        for step in self.steps:
            if step.spec.bottoms:
                step.check(tuple(shapes[b] for b in step.spec.bottoms))
        return shapes

    def loss(self, inputs: Mapping[str, Tensor], blobs: Sequence[Blob] = ()) -> tuple[Loss, dict[Blob, Tensor]]:
        """The loss of one pass, and the outputs (and whatever blobs are named besides)."""
        wanted = tuple(dict.fromkeys((*self.graph.outputs, *self.losses, *blobs)))
        values = self.run(wanted, inputs)
        total = torch.zeros((), device=self.device)
        back, gradients = [], []
        for blob, weight in self.losses.items():
            total = total + weight.value * values[blob].detach().sum().float()
            if weight.gradient and values[blob].requires_grad:
                back.append(values[blob])
                gradients.append(torch.full_like(values[blob], weight.gradient))
        return Loss(total, tuple(back), tuple(gradients), self.needs.refused), values

    def run(
        self, wanted: Sequence[Blob], inputs: Mapping[str, Tensor], drawn: Mapping[Blob, Tensor] | None = None
    ) -> dict[Blob, Tensor]:
        """The wanted values; every other one is freed after its last reader. `drawn` is what `draw` gave, if it ran."""
        self.chained.clear()
        values: dict[Blob, Tensor] = {} if drawn is None else dict(drawn)
        course = self.course(tuple(wanted))
        pass_ = Pass(course, inputs, drawn is not None, values)
        for stretch in course.stretches:
            if stretch.again and torch.is_grad_enabled():
                self._run_again_later(stretch, pass_)
            else:
                self._run_steps(stretch.steps, pass_)
        return values

    def _run_steps(self, steps: Steps, now: Pass) -> None:
        for number, free in steps:
            self._run_step(number, now)
            for blob in free:
                now.values.pop(blob, None)

    def _run_step(self, number: int, now: Pass) -> None:
        step, values = self.steps[number], now.values
        if number in self.halos:
            now.done |= self._run_halo(self.halos[number], now.course, values)
        if number in now.done or (step.layer.is_data and now.drawn):
            return
        if self._with_scale(number, now.course):
            now.done.add(self.scales[number])
            values.update(self._run_scaled(step, self.steps[self.scales[number]], values))
        elif step.spec.type == "Input":
            values.update(self._given(step, now.inputs, now.course))
        else:
            tops = step.run([values[b] for b in step.spec.bottoms])
            values.update(zip(step.spec.tops, map(self._placed, tops) if step.layer.is_data else tops, strict=True))

    def _run_again_later(self, stretch: Stretch, now: Pass) -> None:
        """Runs a stretch of which only the values that leave it are kept; backward runs it again."""
        read = {b: now.values[b] for n, _ in stretch.steps for b in self.graph.layers[n].bottoms if b in now.values}
        done = set(now.done)

        def work() -> dict[Blob, Tensor]:
            inside = Pass(now.course, now.inputs, now.drawn, dict(read), set(done))
            self._run_steps(stretch.steps, inside)
            now.done |= inside.done
            return {b: v for b, v in inside.values.items() if b not in read}

        now.values.update(checkpoint(work, use_reentrant=False))
        for blob in dead(stretch.steps):
            now.values.pop(blob, None)

    def _run_halo(self, halo: Halo, course: Course, values: dict[Blob, Tensor]) -> set[int]:
        """Runs the first layers of a chain together where that pays; the layers that need not run any more."""
        members = [n for n in halo.chain.layers if n in course.numbers]
        outside = {b for n in course.numbers.difference(members) for b in self.graph.layers[n].bottoms}
        made = halo.run([self.steps[n] for n in members], values[halo.chain.source], outside.union(course.wanted))
        if made is None:
            return set()
        values.update(made[0])
        self.chained.update(members[: made[1]])
        return set(members[: made[1]])

    def _with_scale(self, number: int, course: Course) -> bool:
        """Whether a layer is a BatchNorm whose Scale runs too, and nobody wants what lies between."""
        scale = self.scales.get(number)
        return scale in course.numbers and self.graph.layers[number].tops[0] not in course.wanted

    def _run_scaled(self, norm: Step, scale: Step, values: Mapping[Blob, Tensor]) -> dict[Blob, Tensor]:
        """The top of a Scale from the bottom of its BatchNorm, which takes the factor and the bias as its own."""
        x = norm.widened(values[norm.spec.bottoms[0]])
        shapes = (x.shape,)
        norm.check(shapes)
        scale.check(shapes)
        flow = x if norm.gradient[0] or not x.requires_grad else x.detach()
        factor, bias = scale.layer.values([x], scale.params())
        with blame(norm.spec):
            return {scale.spec.tops[0]: norm.layer.forward([flow], [*norm.params(), factor, bias])[0]}

    def _given(self, step: Step, inputs: Mapping[str, Tensor], course: Course) -> dict[Blob, Tensor]:
        """What the caller gives of an Input layer's tops; only one that nothing reads may be missing."""
        out = {}
        for top in step.spec.tops:
            if top.name in inputs:
                out[top] = self._laid(inputs[top.name])
            elif top in course.read:
                raise SpecError(f"input '{top}' is missing; the net takes {[b.name for b in self.graph.inputs]}")
        return out

    def course(self, wanted: tuple[Blob, ...]) -> Course:
        """What has to run for the wanted blobs.

        A layer without tops runs for what it does, and a data layer always moves on.
        """
        if wanted not in self._courses:
            keep = ancestors(self.graph, wanted)
            keep |= {n for n, (spec, layer) in enumerate(self.bound) if layer.is_data or not spec.tops}
            keep |= ancestors(self.graph, [b for n in keep for b in self.graph.layers[n].bottoms])
            read = {b for n in keep for b in self.graph.layers[n].bottoms}
            steps = dying_after(self.graph, sorted(keep), wanted)
            self._courses[wanted] = Course(
                wanted, self._stretches(steps), frozenset(keep), frozenset(read.union(wanted))
            )
        return self._courses[wanted]

    def _stretches(self, steps: Steps) -> list[Stretch]:
        if not self.context.recompute:
            return [Stretch(steps, again=False)]
        apart = {n for halo in self.halos.values() for n in halo.chain.layers}
        return recomputation(self.bound, steps, apart, {p.layer for p in self.table if not p.blob.learn})

    def read_once(self, entry: Parameter) -> bool:
        """Whether the last pass read an owner's parameter blob in one place and once."""
        readers = [p.layer for p in self.table if self.table[p.owner] is entry]
        return (
            readers == [entry.layer]
            and len(self.steps[entry.layer].spec.bottoms) == 1
            and entry.layer not in self.chained
        )

    def blob(self, name: str) -> Blob:
        """The final value of a name."""
        if name not in self.last:
            raise SpecError(f"the net has no blob '{name}'{suggestion(name, self.last)}")
        return self.last[name]

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def data_layers(self) -> list[tuple[str, DataLayer]]:
        """The layers that bring data, by name."""
        return [(spec.name, layer) for spec, layer in self.bound if isinstance(layer, DataLayer)]

    def share_with(self, other: Net) -> None:
        """Takes the parameters of layers of the same name from another net, so that both always agree."""
        for name, holder in self._modules.items():
            theirs = other._modules.get(name)
            if isinstance(holder, LayerBlobs) and isinstance(theirs, LayerBlobs):
                for (key, mine), value in zip(list(holder._parameters.items()), theirs.blobs(), strict=True):
                    if mine is not None and mine.shape != value.shape:
                        raise SpecError(
                            f"layer '{name}': blob {key} is {list(mine.shape)} here "
                            f"and {list(value.shape)} in the net that shares it"
                        )
                    holder._parameters[key] = value

    def copy_from(self, model: Model) -> LoadReport:
        """Copies stored blobs by layer name. All misfits of shape are raised at once; nothing is copied then."""
        by_name = {step.spec.name: step for step in self.steps}
        wanted = {name: list(step.shapes) for name, step in by_name.items()}
        shared = {(self.graph.layers[p.layer].name, p.index) for i, p in enumerate(self.table) if p.owner != i}
        names = {name: step.blob_names() for name, step in by_name.items()}
        report = match(model, wanted, shared, names)
        report.raise_on_wrong_shape()
        with torch.no_grad():
            for name, values in report.loaded.items():
                for blob, value in zip(by_name[name].params(), values, strict=True):
                    if value is not None:
                        put(blob, value)
        return report

    def to_model(self, diffs: bool = False) -> Model:
        """The parameters as Caffe stores them: every layer in order, shared blobs with each sharer."""
        layers = []
        for number, step in enumerate(self.steps):
            blobs = step.blobs.blobs() if step.blobs else []
            arrays: list[np.ndarray | None] = [stored(b, s) for b, s in zip(blobs, step.shapes, strict=True)]
            grads = [stored(b.grad, s) if diffs else None for b, s in zip(blobs, step.shapes, strict=True)]
            names = step.blob_names()
            layers.append(StoredLayer(self.graph.layers[number].name, step.spec.type, arrays, grads, names=names))
        return Model(self.graph.name, layers, self.message())

    def message(self) -> Any:
        """The net as Caffe stores it with weights: with Split layers, and every layer's phase."""
        net = emit(insert_splits(self.graph))
        for layer in net.layer:
            if not layer.HasField("phase"):
                layer.phase = PHASES.index(self.graph.phase)
        return net


def first_values(spec: LayerSpec, entry: Parameter) -> Tensor:
    """What the net file itself holds for the blob, else what its filler gives."""
    value = torch.empty(entry.blob.shape)
    if not spec.proto.blobs:
        if entry.blob.value is not None:
            return value.copy_(torch.from_numpy(np.asarray(entry.blob.value, np.float32)))
        fill(value, entry.blob.filler)
        return value
    if entry.index >= len(spec.proto.blobs):
        raise LayerError(
            f"the file holds {len(spec.proto.blobs)} blobs and none for '{entry.blob.name}'", field="blobs"
        )
    blob = blob_values(spec.proto.blobs[entry.index])
    if not fits(blob.shape, entry.blob.shape):
        raise LayerError(f"blob {list(blob.shape)} does not fit '{entry.blob.name}' {list(value.shape)}", field="blobs")
    return value.copy_(torch.from_numpy(blob.reshape(entry.blob.shape)))


def put(blob: Tensor, value: np.ndarray) -> None:
    """Copies values piece by piece: what lies in a mapped file takes no memory besides the blob."""
    whole = blob.contiguous()
    flat, at = whole.view(-1), 0
    for piece in pieces(value):
        flat[at : at + piece.size].copy_(torch.from_numpy(np.array(piece)))
        at += piece.size
    if whole is not blob:
        blob.copy_(whole)


def stored(tensor: Tensor | None, shape: Shape) -> np.ndarray | None:
    """A tensor as the array that goes into a file."""
    return None if tensor is None else tensor.detach().cpu().numpy().reshape(shape)


def mark_overwrites(bound: Bound) -> None:
    """Lets a layer that is written in place take its bottom's memory where nobody can tell.

    That is so when the bottom is new memory which its maker does not need again, and this layer is its only reader.
    """
    readers = bound.graph.readers()
    makers = {top: layer for spec, layer in bound for top in spec.tops}
    for spec, layer in bound:
        if spec.bottoms and spec.tops and spec.bottoms[0].name == spec.tops[0].name:
            bottom = spec.bottoms[0]
            layer.overwrite = makers[bottom].reusable_top and len(readers[bottom]) == 1
