"""Rules on what stands beside a net: its data, its weights; and on forms of the past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netspec.check import NetFile, SolverFile, View, rule
from netspec.check.subject import Edit, Finding, name
from netspec.data.paths import Places
from netspec.errors import Loc, SpecError
from netspec.ir.graph import LayerSpec
from netspec.spec.param_str import entries

# Images of the published test splits.
SPLITS = {("voc_layers", "seg11valid"): 736, ("nyud_layers", "test"): 654, ("siftflow_layers", "test"): 200}
# Fields that have another name today, and those of data layers that moved to transform_param.
OLD_FIELDS = {"concat_param": ("concat_dim", "axis"), "slice_param": ("slice_dim", "axis")}
MOVED = ("scale", "mean_file", "crop_size", "mirror")
DATA_PARAMS = ("data_param", "image_data_param", "window_data_param")
STAYED = (("window_data_param", "scale"),)


@rule("NS014", "a test that leaves out data", SolverFile)
def test_length(solver: SolverFile) -> Iterator[Finding]:
    """test_iter times the batch is less than the data there is to test on.

    A test runs test_iter batches from where the last one ended: a smaller number scores another part each time, so
    scores of two tests cannot be compared. Known for the published test splits, and for lists of images, LMDBs and HDF5
    files that are there.

    Put right: test_iter = images / batch, rounded up.
    """
    for test_iter, graph in zip(solver.message.test_iter, solver.tests, strict=False):
        for spec in graph.layers if graph else ():
            images, batch = data_length(spec)
            if images and test_iter * batch < images:
                message = (
                    f"test_iter {test_iter} x batch {batch} leaves out part of the {images} images of '{spec.name}'"
                )
                yield Finding(message, solver.loc("test_iter"))


def data_length(spec: LayerSpec) -> tuple[int, int]:
    """Items of a data layer and its batch, as far as they are known or its data are there; else 0."""
    if spec.type not in COUNTED:
        return 0, 1
    try:
        return COUNTED[spec.type](spec, Places.of(Path(spec.loc().file).parent, None))
    except SpecError:
        return 0, 1


def published_images(spec: LayerSpec, _: Places) -> tuple[int, int]:
    param = spec.proto.python_param
    split = (entries(param.param_str) or {}).get("split")
    return SPLITS.get((param.module, split if isinstance(split, str) else ""), 0), 1


def listed_images(spec: LayerSpec, places: Places) -> tuple[int, int]:
    from netspec.data.imagelist import read_lines

    param = spec.proto.image_data_param
    lines = read_lines(places.file(param.source, "list of images"))
    return sum(bool(line.strip()) for line in lines), param.batch_size


def stored_images(spec: LayerSpec, places: Places) -> tuple[int, int]:
    from netspec.data.database import open_database

    param = spec.proto.data_param
    return len(open_database(places.find(param.source, "database"))), param.batch_size


def stored_rows(spec: LayerSpec, places: Places) -> tuple[int, int]:
    from netspec.data.hdf5 import open_rows, read_files

    param = spec.proto.hdf5_data_param
    files = read_files(places.file(param.source, "list of HDF5 files"), places)
    return sum(open_rows(files, [top.name for top in spec.tops]).counts), param.batch_size


COUNTED = {"Python": published_images, "ImageData": listed_images, "Data": stored_images, "HDF5Data": stored_rows}


@rule("NS015", "weights and net do not fit", View)
def weights(view: View) -> Iterator[Finding]:
    """The file given with --weights lacks layers of the net, has others, or blobs of other shapes.

    Weights go by layer name. A layer that the file lacks keeps its filler's values without a word from Caffe; one that
    the net lacks is left out; another shape is an error. In a training net the last layers may lack on purpose: fine-
    tuning starts from a file without them, and then all others fit.

    Put right: names as in the file; `netspec transplant` where shapes differ on purpose.
    """
    from netspec.weights.report import match

    if view.net.stored is None or not view.complete:
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
    """The net uses fields of older Caffe: V0 or V1 `layers`, `input` with `input_dim`, concat_dim, slice_dim; or
    scale, mean_file, crop_size and mirror in a data layer's own message.

    They are read as before, but other tools do not know them, and a net cannot mix old layers with today's.

    Put right: `netspec upgrade OLD NEW` rewrites the whole; --fix renames concat_dim and slice_dim. Of a data layer in
    today's form, move the fields to transform_param by hand: Caffe reads them there alone.
    """
    message, place = net.written.message, net.written.place
    for field, what in (("layers", "V1 (or V0) layers"), ("input", "inputs outside of an Input layer")):
        if len(getattr(message, field)):
            yield Finding(f"{what}: `netspec upgrade` rewrites them in today's form", place.of(field))
    for proto, where in zip(message.layer, place.fields.get("layer", []), strict=False):
        for param, (old, new) in OLD_FIELDS.items():
            if getattr(proto, param).HasField(old):
                loc = where.of(f"{param}.{old}")
                yield Finding(f"{name(proto)}: {old} is called {new} today", loc, Edit(loc, old, new))
        for param in DATA_PARAMS:
            for old in MOVED:
                if getattr(proto, param).HasField(old) and (param, old) not in STAYED:
                    yield Finding(
                        f"{name(proto)}: {old} belongs into transform_param today", where.of(f"{param}.{old}")
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
