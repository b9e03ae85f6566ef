"""plan: what is written, whatever the format: a net in its TEST phase as sites, each with its form.

1. Data layers become Input layers and losses go, as in `deploy`; a net without them stays as it is.
2. Only what the outputs depend on is written.
3. Inputs are asked which of their axes may change: the batch, and height and width together. An axis of a blob that
   changed with them in any of several trials counts as one that does.
4. A BatchNorm and the Scale that alone reads it, one factor per channel, are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.export.forms import Form, NotExported, Site, forms
from netspec.export.inputs import inferred_shapes
from netspec.ir.graph import Blob, Graph, ancestors
from netspec.ir.lower import lower
from netspec.layers import Context, Shape, layer_class
from netspec.net import Net, Step
from netspec.passes.data_to_input import brings_data
from netspec.passes.deploy import deploy, is_loss
from netspec.spec.text import dump, parse
from netspec.weights.model import Model

Shapes = dict[str, Shape]
# The net that results are compared with runs as it is written.
PLAIN = frozenset({"halo_elision", "interpolation", "scale_fusion", "winograd"})
SMALL = 96
# How much larger each trial is than the declared size; what is no multiple is made odd. The first trials are less than
# the declared size where that is large and more where it is small; others show what changes, or serve nets that refuse
# odd sizes when they run.
FACTORS = ((1, 1), (0.63, 0.77), (0.81, 0.59), (1.7, 1.9), (2.3, 1.3), (1, 2), (2, 1))


@dataclass(frozen=True)
class Stop:
    """One site, the form that writes it, and the values it reads and makes."""

    site: Site
    form: Form
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]


@dataclass(frozen=True)
class Plan:
    """A net to be written. `trials` are shapes of the inputs that it takes, the declared ones first."""

    name: str
    source: str
    inputs: tuple[Blob, ...]
    outputs: tuple[Blob, ...]
    stops: tuple[Stop, ...]
    shapes: dict[Blob, Shape]
    varies: dict[Blob, tuple[bool, ...]]
    axes: dict[Blob, tuple[str, ...]]
    """A name for every axis that changes, or nothing; the same for axes of the same size in all trials."""
    trials: tuple[Shapes, ...]

    @property
    def results(self) -> dict[str, Blob]:
        """The outputs by name; one written in place of an input gets another."""
        inputs = {b.name for b in self.inputs}
        return {f"{b.name}_out" if b.name in inputs else b.name: b for b in self.outputs}


def deployed(graph: Graph, shapes: Mapping[str, Shape] | None = None) -> Graph:
    """Rule 1."""
    trained = any(brings_data(spec) or (layer_class(spec.type).loss and is_loss(spec)) for spec in graph.layers)
    return deploy(graph, shapes) if trained else graph


def stored_graph(model: Model, path: str | Path, shapes: Mapping[str, Shape] | None = None) -> Graph:
    """The net that a weight file itself holds, made one that gives scores; it is that of training as a rule."""
    if model.net is None:
        raise SpecError("the file holds no net: give it, --net NET", Loc(str(path)))
    document = parse(dump(model.net), str(path))
    try:
        graph = lower(document, "TEST")
    except SpecError:
        graph = lower(document, "TRAIN")
    return deploy(graph, {**inferred_shapes(graph, model), **(shapes or {})})


def ready(graph: Graph, model: Model, shapes: Mapping[str, Shape] | None = None, partial: bool = False) -> Net:
    """The net to write, with its weights; a layer without stored weights is an error unless `partial`."""
    graph = deployed(graph, shapes)
    net = Net(graph, Context(phase="TEST", folder=Path(graph.file).parent, no_pass=PLAIN), shapes)
    report = net.copy_from(model)
    if report.missing and not partial:
        raise SpecError(f"the weights lack layers of the net: {', '.join(report.missing)}", Loc(graph.file))
    return net.requires_grad_(False)


def make_plan(net: Net, fixed_size: bool = False, name: str = "", outputs: tuple[Blob, ...] = ()) -> Plan:
    """The plan of a net; `name` is for one that has none, `outputs` are others than the net's own.

    Errors: all layers that cannot be written, at once; a net without inputs or outputs.
    """
    inputs = net.graph.inputs
    outputs = outputs or tuple(b for b in net.graph.outputs if b not in inputs)
    if not inputs or not outputs:
        raise SpecError("the net has no inputs or no outputs", Loc(net.graph.file))
    probes, trials = try_sizes(net, fixed_size)
    shapes = net.blob_shapes
    varies = {b: tuple(len({p[b][i] for p in probes}) > 1 for i in range(len(s))) for b, s in shapes.items()}
    stops = tuple(make_stops(net, outputs, varies))
    unknown_layers(net, stops)
    used = {b for stop in stops for b in stop.bottoms}
    return Plan(
        name=net.graph.name or name or Path(net.graph.file).stem,
        source=net.graph.file,
        inputs=tuple(b for b in inputs if b in used),
        outputs=outputs,
        stops=stops,
        shapes=shapes,
        varies=varies,
        axes=axis_names(inputs, outputs, probes) | counted_axes(stops, outputs, shapes),
        trials=tuple({b.name: t[b.name] for b in inputs if b in used} for t in trials),
    )


def make_stops(net: Net, outputs: Sequence[Blob], varies: Mapping[Blob, tuple[bool, ...]]) -> Iterator[Stop]:
    """The sites in order, those of pairs as one; Input layers are not among them."""
    known, taken = forms(), set()
    needed = ancestors(net.graph, outputs)
    for number in sorted(needed):
        step = net.steps[number]
        if step.spec.type == "Input" or number in taken:
            continue
        site, tops = make_site(net, step, varies), step.spec.tops
        partner = scale_behind(net, step, outputs) if step.spec.type == "BatchNorm" else None
        if partner is not None:
            other = net.steps[partner]
            site, tops = replace(site, scale=make_site(net, other, varies)), other.spec.tops
            taken.add(partner)
        yield Stop(site, known.get(step.spec.type, Form()), step.spec.bottoms, tops)


def make_site(net: Net, step: Step, varies: Mapping[Blob, tuple[bool, ...]]) -> Site:
    params = tuple(np.asarray(p.detach().cpu().numpy(), np.float32) for p in step.params())
    bottoms = tuple(net.blob_shapes[b] for b in step.spec.bottoms)
    tops = tuple(net.blob_shapes[t] for t in step.spec.tops)
    return Site(step.layer, step.spec.name, params, bottoms, tops, tuple(varies[b] for b in step.spec.bottoms))


def scale_behind(net: Net, step: Step, outputs: Sequence[Blob]) -> int | None:
    """Rule 4."""
    top = step.spec.tops[0]
    readers = [n for n, other in enumerate(net.steps) if top in other.spec.bottoms]
    if len(readers) != 1 or top in outputs:
        return None
    spec = net.steps[readers[0]].spec
    p = spec.proto.scale_param
    plain = spec.type == "Scale" and len(spec.bottoms) == 1 and p.axis == 1 and p.num_axes == 1
    return readers[0] if plain else None


def unknown_layers(net: Net, stops: Sequence[Stop]) -> None:
    """One error that names every layer whose type has no form."""
    types = {step.spec.name: step.spec.type for step in net.steps}
    missing = [f"'{s.site.name}' ({types[s.site.name]})" for s in stops if type(s.form) is Form]
    if missing:
        raise SpecError(f"layers of types that cannot be exported: {', '.join(missing)}", Loc(net.graph.file))


@dataclass
class Refusals:
    """Layers whose settings cannot be written, gathered so that one error names them all."""

    file: str
    found: list[str]

    def add(self, stop: Stop, reason: NotExported) -> None:
        self.found.append(f"'{stop.site.name}' ({stop.site.layer.type}): {reason}")

    def raise_any(self) -> None:
        if self.found:
            raise SpecError(f"layers that cannot be exported: {'; '.join(self.found)}", Loc(self.file))


def try_sizes(net: Net, fixed_size: bool) -> tuple[list[dict[Blob, Shape]], list[Shapes]]:
    """All shapes of the net for several shapes of its inputs, and these.

    Sizes change for inputs of four axes only. What the net refuses does not change.
    """
    declared = {b.name: net.blob_shapes[b] for b in net.graph.inputs}
    size = not fixed_size and takes(net, changed(declared, 3, (), True))
    batch = next((names for names in batches(declared) if takes(net, changed(declared, 3, names, False))), ())
    first = {n: (1, *s[1:]) if n in batch and s else s for n, s in declared.items()}
    trials = [first]
    probes = [net.blob_shapes]
    for number in range(1, len(FACTORS)):
        shapes = changed(declared, number, batch, size)
        try:
            probes.append(net.reshaped(shapes))
        except SpecError:
            continue
        if shapes not in trials:
            trials.append(shapes)
    return probes, trials


def takes(net: Net, shapes: Shapes) -> bool:
    """Whether the net runs with these shapes of its inputs."""
    try:
        net.reshaped(shapes)
    except SpecError:
        return False
    return True


def batches(declared: Shapes) -> Iterator[tuple[str, ...]]:
    """Inputs whose first axes may change together: all of them, or those as long as the first one's."""
    yield tuple(declared)
    sizes = {name: shape[0] for name, shape in declared.items() if shape}
    yield tuple(name for name, n in sizes.items() if n == next(iter(sizes.values())))


def changed(declared: Shapes, number: int, batch: Sequence[str], size: bool) -> Shapes:
    """The inputs' shapes in one of several trials; `batch` are the inputs whose first axis changes."""
    return {name: one_changed(shape, number, name in batch, size) for name, shape in declared.items()}


def one_changed(shape: Shape, number: int, batch: bool, size: bool) -> Shape:
    first = (1 + number % 3 if batch else shape[0]) if shape else 0
    if len(shape) != 4 or not size:
        return (first, *shape[1:]) if shape else shape
    sizes = []
    for n, factor in zip(shape[2:], FACTORS[number], strict=True):
        factor = factor if n >= SMALL or factor >= 1 else 2 - factor
        sizes.append(n * int(factor) if factor in (1, 2) else round(n * factor) | 1)
    return (first, shape[1], *sizes)


def counted_axes(
    stops: Sequence[Stop], outputs: Sequence[Blob], shapes: Mapping[Blob, Shape]
) -> dict[Blob, tuple[str, ...]]:
    """Names for the axes of outputs whose size depends on values."""
    found = {top: stop.form.counted for stop in stops for top in stop.tops if top in outputs}
    return {
        b: tuple(f"{b.name}_{i}" if i == axis else "" for i in range(len(shapes[b])))
        for b, axis in found.items()
        if axis is not None
    }


def axis_names(
    inputs: Sequence[Blob], outputs: Sequence[Blob], probes: Sequence[Mapping[Blob, Shape]]
) -> dict[Blob, tuple[str, ...]]:
    """batch, height and width of the inputs; `<blob>_<axis>` for other axes of outputs that change."""
    names: dict[tuple[int, ...], str] = {}
    out: dict[Blob, tuple[str, ...]] = {}
    for blob in (*inputs, *outputs):
        rows = []
        for i in range(len(probes[0][blob])):
            sizes = tuple(p[blob][i] for p in probes)
            if len(set(sizes)) == 1:
                rows.append("")
                continue
            usual = {0: "batch", 2: "height", 3: "width"}.get(i, "") if blob in inputs else ""
            free = usual if usual and usual not in names.values() else f"{blob.name}_{usual or i}"
            rows.append(names.setdefault(sizes, free))
        out[blob] = tuple(rows)
    return out
