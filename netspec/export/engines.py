"""engine: a net run by ONNX Runtime or OpenVINO, through netspec's own ONNX form.

1. Data layers run here; what lies between them and the losses and measures runs in the engine; these run here again.
2. For a set of blobs the engine is made when they are first asked for, for the net's outputs at once. Its fp32 values
   are compared with the net's own on a small input, as `convert` does; one that differs is refused.
3. Shapes are free where the net's are: an input that the net refuses is refused in the same words.

It runs on the CPU, on as many threads as torch, and takes no gradients.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from netspec.errors import SpecError, suggestion
from netspec.export import onnx_file, verify
from netspec.export.forms import forms
from netspec.export.plan import PLAIN, Plan, make_plan
from netspec.ir.graph import Blob
from netspec.layers import Shape
from netspec.net import Course, Net
from netspec.passes.data_to_input import data_to_input
from netspec.step import Step

Arrays = dict[str, np.ndarray]
Session = Callable[[Arrays], list[np.ndarray]]
"""Inputs by name -> outputs in the order of the plan's results."""
ROUNDING = 1e-3
"""Largest difference allowed, as a share of an output's largest value: engines convolve by other sums than torch."""
REMEMBERED = 1000
"""Shapes of inputs known to be right."""


def engine(net: Net, backend: str, precision: str = "fp32") -> EngineNet:
    """A TEST net run by `onnxruntime` or `openvino`; it is called as the net is and shares its parameters.

    What they were when a blob was first asked for counts. Errors: an unknown or missing engine, a precision it lacks,
    layers without an ONNX form, values that differ.
    """
    if backend not in ENGINES:
        raise SpecError(f"unknown back end '{backend}'{suggestion(backend, ENGINES)} (known: {', '.join(ENGINES)})")
    if net.graph.phase != "TEST":
        raise SpecError(f"{backend} runs a net in the TEST phase only")
    if net.device.type != "cpu":
        raise SpecError(f"{backend} runs on the CPU only")
    if any(step.packed is not None for step in net.steps):
        raise SpecError("the net is frozen for torch: give the engine one that is not")
    if precision not in ENGINES[backend].precisions:
        raise SpecError(f"{backend} has no precision '{precision}' (it has: {', '.join(ENGINES[backend].precisions)})")
    for package in ("onnx", backend):
        onnx_file.needs(package, "openvino" if backend == "openvino" else "onnx")
    return EngineNet(net, backend, precision)


@dataclass(frozen=True)
class Part:
    """What the engine has compiled: a plan and what runs it."""

    plan: Plan
    session: Session


class EngineNet(Net):
    """A net whose layers an engine runs."""

    def __init__(self, net: Net, backend: str, precision: str) -> None:
        torch.nn.Module.__init__(self)
        self.__dict__.update(net.__dict__)  # it is the same net with another `run`
        self.backend, self.precision = backend, precision
        self.middle = middle(net)
        self.parts: list[Part] = []
        self.known: set[tuple[Shape, ...]] = set()
        self._part(needed(self, self.course(self.graph.outputs)))

    def run(
        self, wanted: Sequence[Blob], inputs: Mapping[str, Tensor], drawn: Mapping[Blob, Tensor] | None = None
    ) -> dict[Blob, Tensor]:
        """The wanted values, and those of the losses and measures on the way. `drawn`: what `draw` gave, if it ran."""
        course = self.course(tuple(wanted))
        sources, _, tail = split(self, course)
        values: dict[Blob, Tensor] = dict(drawn or {})
        for step in sources:
            if step.spec.type == "Input":
                values.update(self._given(step, inputs, course))
            elif drawn is None:
                values.update(zip(step.spec.tops, step.run([]), strict=True))
        values.update(self._engine(needed(self, course), values))
        for step in tail:
            values.update(zip(step.spec.tops, step.run([values[b] for b in step.spec.bottoms]), strict=True))
        return values

    def _engine(self, blobs: Sequence[Blob], values: Mapping[Blob, Tensor]) -> dict[Blob, Tensor]:
        """Blobs that the engine makes."""
        if not blobs:
            return {}
        part = self._part(blobs)
        inputs = {b: values[b] for b in part.plan.inputs}
        self._check({b.name: tuple(v.shape) for b, v in inputs.items()})
        made = run_session(self.backend, part.session, {b.name: v.detach().numpy() for b, v in inputs.items()})
        return {b: torch.from_numpy(v) for b, v in zip(part.plan.outputs, made, strict=True)}

    def _check(self, shapes: Mapping[str, Shape]) -> None:
        """Rule 3."""
        key = tuple(shapes.values())
        if key not in self.known:
            self.middle.reshaped(shapes)
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known.add(key)

    def _part(self, blobs: Sequence[Blob]) -> Part:
        """Rule 2."""
        for part in self.parts:
            if set(part.plan.outputs).issuperset(blobs):
                return part
        plan = make_plan(self.middle, outputs=tuple(blobs))
        self.parts.append(Part(plan, compiled(self.middle, plan, self.backend, self.precision)))
        return self.parts[-1]


def middle(net: Net) -> Net:
    """The net with inputs in place of its data layers, without what runs behind the engine; parameters are shared."""
    sources, _, tail = split(net, net.course(net.graph.outputs))
    if not tail and not net.data_layers():
        return net
    shapes = {top.name: net.blob_shapes[top] for step in sources for top in step.spec.tops}
    graph = data_to_input(net.graph, shapes).graph
    gone = {step.spec.name for step in tail}
    graph = replace(graph, layers=tuple(spec for spec in graph.layers if spec.name not in gone))
    made = Net(graph, replace(net.context, no_pass=PLAIN), shapes)
    made.share_with(net)
    return made


def split(net: Net, course: Course) -> tuple[list[Step], list[Step], list[Step]]:
    """Rule 1: the steps before the engine, in it and behind it. A Silence needs none."""
    sources, inside, tail = [], [], []
    behind: set[Blob] = set()
    for number, _ in course.steps:
        step = net.steps[number]
        if step.spec.type == "Input" or step.layer.is_data:
            sources.append(step)
        elif ends(step) or behind.intersection(step.spec.bottoms):
            tail.append(step)
            behind.update(step.spec.tops)
        elif step.spec.type != "Silence":
            inside.append(step)
    return sources, inside, tail


def ends(step: Step) -> bool:
    """Whether a layer is a loss, a measure such as Accuracy, or writes to somewhere else."""
    measure = not any(step.layer.gradient_to(i) for i in range(len(step.spec.bottoms)))
    writes = not step.spec.tops and step.spec.type != "Silence"
    return step.layer.loss or writes or (measure and step.spec.type not in forms())


def needed(net: Net, course: Course) -> tuple[Blob, ...]:
    """What the engine is asked for: what is wanted of its blobs, and what the layers behind it read."""
    _, inside, tail = split(net, course)
    made = {top for step in inside for top in step.spec.tops}
    read = [*course.wanted, *(b for step in tail for b in step.spec.bottoms)]
    return tuple(dict.fromkeys(b for b in read if b in made))


def compiled(net: Net, plan: Plan, backend: str, precision: str) -> Session:
    """A plan in the engine, compared with the net in fp32 on the smallest of its inputs."""
    small = sorted(plan.trials, key=lambda shapes: sum(map(prod, shapes.values())))
    with tempfile.TemporaryDirectory(prefix="netspec-") as folder:
        path = onnx_file.write(plan, Path(folder) / "net.onnx")[0]
        session = started(backend, path, "fp32")
        trials = verify.make_trials(net, replace(plan, trials=tuple(small)), count=1)
        got = [dict(zip(plan.results, run_session(backend, session, t.inputs), strict=True)) for t in trials]
        rows = verify.compare(plan, trials, got)
        verify.raise_on_difference([row for row in rows if not row.difference <= ROUNDING * row.largest])
        return session if precision == "fp32" else started(backend, path, precision)


def started(backend: str, path: Path, precision: str) -> Session:
    """The engine on a file; whatever it raises is told in one line."""
    try:
        return ENGINES[backend].start(path, precision)
    except Exception as e:
        raise SpecError(f"{backend} cannot take the net: {one_line(e)}") from e


def run_session(backend: str, session: Session, inputs: Arrays) -> list[np.ndarray]:
    try:
        return session({name: np.ascontiguousarray(value) for name, value in inputs.items()})
    except Exception as e:
        raise SpecError(f"{backend} cannot run the net: {one_line(e)}") from e


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def start_onnxruntime(path: Path, precision: str) -> Session:
    made = onnx_file.session(path, torch.get_num_threads())
    names = [o.name for o in made.get_outputs()]
    return lambda inputs: made.run(names, inputs)


def start_openvino(path: Path, precision: str) -> Session:
    """Without the hint, OpenVINO computes in bfloat16 wherever the processor has it."""
    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = onnx_file.needs("openvino", "openvino").Core()
    model = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda inputs: list(model(inputs, share_inputs=True, share_outputs=False).values())


@dataclass(frozen=True)
class Kind:
    """An engine: how it starts on a file, and what it computes in."""

    start: Callable[[Path, str], Session]
    precisions: tuple[str, ...]


ENGINES = {
    "onnxruntime": Kind(start_onnxruntime, ("fp32",)),
    "openvino": Kind(start_openvino, ("fp32", "bf16")),
}
