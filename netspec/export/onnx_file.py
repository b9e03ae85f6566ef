"""`.onnx`: a plan in standard operators of opset 17, with the net's names for inputs, outputs and blobs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from netspec import __version__
from netspec.errors import SpecError
from netspec.export.forms import NotExported
from netspec.export.nodes import Body, Node, Nodes
from netspec.export.picture import Picture
from netspec.export.plan import Plan, Refusals
from netspec.ir.graph import Blob

OPSET, IR_VERSION = 17, 8
# A protocol buffer file ends at 2 GiB; from here on the values go into a file beside it.
APART = 2**31 - 2**24


def needs(name: str) -> Any:
    """A module of the `onnx` extra, or an error that says how to get it."""
    try:
        return import_module(name)
    except ImportError:
        raise SpecError(f"this needs the package {name}: pip install 'netspec[onnx]'") from None


def write(plan: Plan, path: Path, picture: Picture | None = None) -> list[Path]:
    """Writes the file, checks it with onnx's checker, and names what was written."""
    onnx = needs("onnx")
    model = make_model(plan, picture)
    size = sum(t.ByteSize() for t in model.graph.initializer)
    beside = path.with_name(path.name + ".data")
    if size > APART:
        onnx.save(model, str(path), save_as_external_data=True, location=beside.name, size_threshold=1024)
    else:
        onnx.save(model, str(path))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as e:
        raise AssertionError(f"onnx's checker refuses the file: {e}") from e
    return [path, beside] if size > APART else [path]


def make_model(plan: Plan, picture: Picture | None = None) -> Any:
    """The plan as a ModelProto."""
    onnx = needs("onnx")
    nodes, values = gather(plan, picture)
    inputs = [info(plan, b.name, b, picture.shape(plan.axes[b]) if picture else None) for b in plan.inputs]
    outputs = [info(plan, name, b, None) for name, b in plan.results.items()]
    graph = onnx.helper.make_graph(
        [make_node(n) for n in nodes.nodes],
        plan.name,
        inputs,
        outputs,
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v).reshape(v.shape), k) for k, v in values.items()],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="netspec", producer_version=__version__
    )


def make_node(node: Node) -> Any:
    """An operator as a NodeProto, with the graphs inside it."""
    onnx = needs("onnx")
    attributes = {k: make_body(node.name, v) if isinstance(v, Body) else v for k, v in node.attributes.items()}
    return onnx.helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)


def make_body(name: str, body: Body) -> Any:
    """A graph inside an operator; its values are floats of shapes that follow from those around it."""
    onnx = needs("onnx")
    ends = [
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names]
        for names in (body.inputs, body.outputs)
    ]
    return onnx.helper.make_graph([make_node(n) for n in body.nodes], f"{name}/body", *ends)


def gather(plan: Plan, picture: Picture | None) -> tuple[Nodes, dict[str, np.ndarray]]:
    """The operators with the blobs' names, and the constants that they read."""
    g = Nodes()
    names: dict[Blob, str] = {b: g.name(b.name) for b in plan.inputs}
    last = {b.name: b for stop in plan.stops for b in stop.tops}
    kept = {b: g.name(name) for name, b in plan.results.items()}
    kept |= {b: g.name(b.name) for b in last.values() if b not in names and b not in kept}
    refusals = Refusals(plan.source, [])
    if picture:
        g.layer = "picture"
        names.update({b: picture.nodes(g, names[b]) for b in plan.inputs})
    for stop in plan.stops:
        g.layer = stop.site.name
        try:
            made = stop.form.nodes(stop.site, g, [names[b] for b in stop.bottoms])
        except NotExported as e:
            refusals.add(stop, e)
            made = [g.name(b.name) for b in stop.tops]
        names.update(zip(stop.tops, made, strict=True))
    refusals.raise_any()
    g.layer = "output"
    for blob in plan.outputs:
        if names[blob] in g.constants or sum(names[blob] == names[b] for b in (*plan.inputs, *plan.outputs)) > 1:
            names[blob] = g.add("Identity", names[blob])
    rename(g, {names[b]: kept[b] for b in kept if b in names and names[b] not in g.constants})
    read = g.reads()
    return g, {k: v for k, v in g.constants.items() if k in read}


def rename(g: Nodes, new: dict[str, str]) -> None:
    """Values get the names of the blobs that they are."""
    made = {name for node in g.nodes for name in node.outputs}
    for node in g.nodes:
        node.inputs = [new.get(n, n) if n in made else n for n in node.inputs]
        node.outputs = [new.get(n, n) for n in node.outputs]


def info(plan: Plan, name: str, blob: Blob, picture: tuple[Any, ...] | None) -> Any:
    """An input's or output's type, with names for the axes that change."""
    onnx = needs("onnx")
    if picture is not None:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, picture)
    dims = [axis or size for axis, size in zip(plan.axes[blob], plan.shapes[blob], strict=True)]
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)


def session(path: Path) -> Any:
    """An onnxruntime session on one thread per core of the CPU."""
    runtime = needs("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, trials: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The outputs of a file for several inputs."""
    made = session(path)
    names = [o.name for o in made.get_outputs()]
    return [dict(zip(names, made.run(names, inputs), strict=True)) for inputs in trials]
