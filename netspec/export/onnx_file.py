"""`.onnx`: a plan in standard operators of opset 17, with the net's names for inputs, outputs and blobs."""

from __future__ import annotations

from collections.abc import Mapping
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
from netspec.weights import mapped, wire

OPSET, IR_VERSION = 17, 8
# A protocol buffer file ends at 2 GiB; from here on the values go into a file beside it.
APART = 2**31 - 2**24
# Constants of up to so many bytes, which may be sizes and axes, are part of the message; others follow one by one.
SMALL = 1 << 16
# Numbers of the fields ModelProto.graph, GraphProto.initializer and TensorProto.raw_data.
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9


def needs(name: str, extra: str = "onnx") -> Any:
    """A module of an extra, or an error that says how to get it."""
    try:
        return import_module(name)
    except ImportError:
        raise SpecError(f"this needs the package {name}: pip install 'netspec[{extra}]'") from None


def write(plan: Plan, path: Path, picture: Picture | None = None) -> list[Path]:
    """Writes the file, checks it with onnx's checker, and names what was written.

    What the checker sees has the large constants as inputs: it would read all of them into memory, twice.
    """
    onnx = needs("onnx")
    nodes, values = gather(plan, picture)
    small = {k: v for k, v in values.items() if v.nbytes <= SMALL}
    large = {k: np.ascontiguousarray(v, "<f4").reshape(v.shape) for k, v in values.items() if k not in small}
    model = make_model(plan, picture, nodes, small)
    if sum(v.nbytes for v in large.values()) > APART:
        written = write_apart(model, large, path)
    else:
        write_streamed(model, large, path)
        written = [path]
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in large.items()
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as e:
        raise AssertionError(f"onnx's checker refuses the file: {e}") from e
    return written


def write_streamed(model: Any, large: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes the model with further constants, whose values go from where they are to the file."""
    onnx = needs("onnx")
    heads = {}
    for name, value in large.items():
        tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=value.shape)
        heads[name] = tensor.SerializeToString() + wire.head(RAW_DATA, value.nbytes)
    starts = {k: wire.head(INITIALIZER, len(head) + large[k].nbytes) + head for k, head in heads.items()}
    graph = model.graph.SerializeToString()
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    size = len(graph) + sum(len(starts[k]) + v.nbytes for k, v in large.items())
    with open(path, "wb") as file:
        file.write(rest.SerializeToString() + wire.head(GRAPH, size) + graph)
        for name, value in large.items():
            file.write(starts[name])
            mapped.write(file, value)


def write_apart(model: Any, large: Mapping[str, np.ndarray], path: Path) -> list[Path]:
    """Writes the model, and the values of further constants into a file beside it."""
    onnx = needs("onnx")
    beside, whole = path.with_name(path.name + ".data"), onnx.ModelProto()
    whole.CopyFrom(model)
    with open(beside, "wb") as file:
        for name, value in large.items():
            tensor = whole.graph.initializer.add(name=name, data_type=onnx.TensorProto.FLOAT, dims=value.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entries = {"location": beside.name, "offset": file.tell(), "length": value.nbytes}
            for key, entry in entries.items():
                tensor.external_data.add(key=key, value=str(entry))
            mapped.write(file, value)
    onnx.save(whole, str(path))
    return [path, beside]


def make_model(plan: Plan, picture: Picture | None, nodes: Nodes, values: Mapping[str, np.ndarray]) -> Any:
    """The plan as a ModelProto that holds the given constants."""
    onnx = needs("onnx")
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


def session(path: Path, threads: int = 0) -> Any:
    """An onnxruntime session on so many threads of the CPU; 0 is one per core."""
    runtime = needs("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, trials: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The outputs of a file for several inputs."""
    made = session(path)
    names = [o.name for o in made.get_outputs()]
    return [dict(zip(names, made.run(names, inputs), strict=True)) for inputs in trials]
