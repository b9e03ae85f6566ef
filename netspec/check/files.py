"""Rules on what stands beside a net: its data, its weights; and on forms of the past."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from netspec.check import NetFile, SolverFile, View, rule
from netspec.check.subject import Edit, Finding
from netspec.errors import Loc
from netspec.ir.graph import LayerSpec

# Images of the published test splits.
SPLITS = {("voc_layers", "seg11valid"): 736, ("nyud_layers", "test"): 654, ("siftflow_layers", "test"): 200}
OLD_FIELDS = {"concat_param": ("concat_dim", "axis"), "slice_param": ("slice_dim", "axis")}


@rule("NS014", "a test that leaves out data", SolverFile)
def test_length(solver: SolverFile) -> Iterator[Finding]:
    """test_iter times the batch is less than the data there is to test on.

    A test runs test_iter batches from where the last one ended: a smaller number scores another part each time, so
    scores of two tests cannot be compared. Known for the published test splits and for lists of images.

    Put right: test_iter = images / batch, rounded up.
    """
    for test_iter, view in zip(solver.message.test_iter, solver.tests, strict=False):
        for spec in view.graph.layers:
            images, batch = data_length(view, spec)
            if images and test_iter * batch < images:
                message = (
                    f"test_iter {test_iter} x batch {batch} leaves out part of the {images} images of '{spec.name}'"
                )
                yield Finding(message, solver.loc("test_iter"))


def data_length(view: View, spec: LayerSpec) -> tuple[int, int]:
    """Images of a data layer and its batch, as far as they are known without opening the data; else 0."""
    if spec.type == "Python":
        p = spec.proto.python_param
        return SPLITS.get((p.module, split_of(p.param_str)), 0), 1
    if spec.type == "ImageData":
        from pathlib import Path

        source = Path(spec.proto.image_data_param.source)
        for path in (Path(view.net.path).parent / source, source):
            if path.is_file():
                with path.open("rb") as file:
                    return sum(bool(line.strip()) for line in file), spec.proto.image_data_param.batch_size
    return 0, 1


def split_of(param_str: str) -> str:
    """The split that a published data layer is told to read."""
    try:
        found = ast.literal_eval(param_str)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    return str(found.get("split", "")) if isinstance(found, dict) else ""


@rule("NS015", "weights and net do not fit", View)
def weights(view: View) -> Iterator[Finding]:
    """The file given with --weights lacks layers of the net, has others, or blobs of other shapes.

    Weights go by layer name. A layer that the file lacks keeps its filler's values without a word from Caffe; one that
    the net lacks is left out; another shape is an error. In a training net the last layers may lack on purpose: fine-
    tuning starts from a file without them, and then all others fit.

    Put right: names as in the file; `netspec transplant` where shapes differ on purpose.
    """
    from netspec.weights.report import match

    if view.net.stored is None:
        return
    wanted: dict[str, list[tuple[int, ...]]] = {spec.name: [] for spec in view.graph.layers}
    shared = set()
    for position, p in enumerate(view.table):
        owner = view.graph.layers[p.layer].name
        wanted[owner].append(p.blob.shape)
        if p.owner != position:
            shared.add((owner, p.index))
    report = match(view.net.stored, wanted, shared)
    places = {spec.name: spec.loc() for spec in view.graph.layers}
    for layer in report.missing:
        yield Finding(f"layer '{layer}' is not in the weights file", places[layer])
    for misfit in report.wrong_shape:
        yield Finding(str(misfit), places[misfit.layer])
    for layer in report.unexpected:
        yield Finding(f"the weights file has a layer '{layer}' that the net lacks", Loc(view.net.path))


@rule("NS017", "a form of the past", NetFile)
def old_net(net: NetFile) -> Iterator[Finding]:
    """The net uses fields of older Caffe: V0 or V1 `layers`, `input` with `input_dim`, concat_dim, slice_dim.

    They are read as before, but other tools do not know them, and a net cannot mix them with today's.

    Put right: `netspec upgrade OLD NEW` rewrites the whole; --fix renames concat_dim and slice_dim.
    """
    message, place = net.written.message, net.written.place
    for field, what in (("layers", "V1 (or V0) layers"), ("input", "inputs outside of an Input layer")):
        if len(getattr(message, field)):
            yield Finding(f"{what}: `netspec upgrade` rewrites them in today's form", place.of(field))
    for proto, where in zip(message.layer, place.fields.get("layer", []), strict=False):
        for param, (old, new) in OLD_FIELDS.items():
            if getattr(proto, param).HasField(old):
                loc = where.of(f"{param}.{old}")
                yield Finding(
                    f"layer '{proto.name}' ({proto.type}): {old} is called {new} today", loc, Edit(loc, old, new)
                )


@rule("NS018", "a solver of the past", SolverFile)
def old_solver(solver: SolverFile) -> Iterator[Finding]:
    """The solver gives solver_type, an enum, where today's form has `type`, a string.

    Put right: `netspec upgrade OLD NEW`.
    """
    if solver.written.message.HasField("solver_type"):
        yield Finding(
            "solver_type is called type today: `netspec upgrade` rewrites it", solver.written.place.of("solver_type")
        )
