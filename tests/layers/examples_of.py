"""An example net of every layer type: the golden cases of its kind, or `examples/<type>.prototxt`.

In an example, a comment `# b1 = 0 2 1` gives the values of an input; others are standard normal numbers.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_data import arrays, golden, golden_json
from PIL import Image

from netspec import schema
from netspec.data.database import write_database
from netspec.ir.graph import Blob, Graph
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net, Step
from netspec.spec import text
from netspec.spec.upgrade import upgrade_net

FOLDER = Path(__file__).parent / "examples"


@dataclass
class Example:
    """A net with a layer of one type, what goes into it, and a function that puts its files into a folder."""

    type: str
    message: Any
    phase: str = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()
    values: dict[str, np.ndarray] = field(default_factory=dict)
    files: tuple[tuple[Path, str], ...] = ()
    name: str = "example"

    def graph(self, message: Any = None) -> Graph:
        """The graph of the example, or of another form of its net, as read from a file."""
        document = text.parse(text.dump(message or self.message), "example.prototxt")
        return lower(document, self.phase, self.level, self.stages)

    def net(self, folder: Path, message: Any = None) -> Net:
        self.write_files(folder)
        net = Net(self.graph(message), Context(folder=folder, seed=1))
        self.give_arrays(net)
        return net

    def write_files(self, folder: Path) -> None:
        for source, name in self.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        if not self.name.startswith("golden"):
            write_data(folder)

    def give_arrays(self, net: Net) -> None:
        """Sets the parameters that the example prescribes, and the arrays of MemoryData."""
        with torch.no_grad():
            for step in net.steps:
                for i, blob in enumerate(step.params()):
                    if f"param.{step.spec.name}.{i}" in self.values:
                        blob.copy_(torch.from_numpy(self.values[f"param.{step.spec.name}.{i}"]))
        if "mem.data" in self.values:
            for _, layer in net.data_layers():
                rows = layer.p.batch_size
                layer.set_input_arrays(*(np.concatenate([self.values[f"mem.{k}"]] * rows) for k in ("data", "labels")))

    def inputs(self, net: Net) -> dict[str, torch.Tensor]:
        """Values of the net's inputs, repeated and cut off where the net has another batch."""
        out = {}
        for blob in net.graph.inputs:
            shape = net.blob_shapes[blob]
            given = self.values.get(f"in.{blob.name}")
            value = torch.randn(shape) if given is None else torch.tensor(given, dtype=torch.float32)
            for axis, size in enumerate(shape):
                if value.shape[axis] != size:
                    value = torch.cat([value] * size, axis).narrow(axis, 0, size)
            out[blob.name] = value
        return out

    def steps(self, net: Net) -> Iterator[Step]:
        """The layers of the example's type."""
        return (step for step in net.steps if step.spec.type == self.type)


def run(net: Net, inputs: dict[str, torch.Tensor]) -> dict[Blob, torch.Tensor]:
    """Every blob of one pass."""
    torch.manual_seed(0)
    return net.run(net.graph.blobs, inputs)


@cache
def examples(type: str) -> tuple[Example, ...]:
    """All examples of a type, the plainest first; of the golden ones those that are no quirk of Caffe's."""
    own = FOLDER / f"{type}.prototxt"
    plain = sorted(golden_examples().get(type, ()), key=lambda e: not e.name.endswith(("/default", "/basic", "/equal")))
    return (*plain, *([written(own)] if own.exists() else []))


@lru_cache(maxsize=1)
def golden_examples() -> dict[str, list[Example]]:
    out: dict[str, list[Example]] = {}
    for entry in golden_json("layers/manifest.json"):
        kind = entry["case"].split("/")[0].replace("_", "")
        if entry.get("quirk") or "reshape" in entry:
            continue
        path = golden("layers") / f"{entry['case']}.prototxt"
        message = upgrade_net(text.read(path)).message
        for type in {layer.type for layer in message.layer}:
            if type.lower() == kind:
                out.setdefault(type, []).append(golden_example(type, message, entry))
    return out


def golden_example(type: str, message: Any, entry: dict[str, Any]) -> Example:
    root = golden("layers")
    files = tuple((root / f, f.split("/", 1)[1]) for f in entry.get("files", ()))
    values = arrays(root / f"{entry['case']}.npz")
    state = (entry["phase"], entry.get("level", 0), tuple(entry.get("stages", ())))
    return Example(type, message, *state, values, files, f"golden {entry['case']}")


def written(path: Path) -> Example:
    content = path.read_text()
    rows = re.findall(r"^# (\w+) = (.*)$", content, re.MULTILINE)
    values = {f"in.{name}": np.array(row.split(), np.float32) for name, row in rows}
    message = text.parse(content, str(path)).message
    shapes = {layer.top[0]: layer.input_param.shape[0].dim for layer in message.layer if layer.type == "Input"}
    values = {key: value.reshape(shapes[key[3:]]) for key, value in values.items()}
    return Example(path.stem, message, "TRAIN", values=values, name=path.stem)


def write_data(folder: Path) -> None:
    """What the examples of data layers read: two images with labels for their pixels, three records with boxes."""
    if (folder / "pairs.txt").exists():
        return
    for i in range(2):
        Image.fromarray(np.random.randint(0, 256, (4, 5, 3), dtype=np.uint8)).save(folder / f"image{i}.png")
        Image.fromarray(np.random.randint(0, 3, (4, 5), dtype=np.uint8)).save(folder / f"label{i}.png")
    (folder / "pairs.txt").write_text("image0.png label0.png\nimage1.png label1.png\n")
    write_database(folder / "annotated_lmdb", [(f"{i:08d}".encode(), annotated()) for i in range(3)])


def annotated() -> bytes:
    """An image of 3 x 4 x 5 with one box."""
    record = schema.new("AnnotatedDatum", type=0)
    record.datum.channels, record.datum.height, record.datum.width = 3, 4, 5
    record.datum.data = np.random.randint(0, 256, 60, dtype=np.uint8).tobytes()
    box = record.annotation_group.add(group_label=1).annotation.add().bbox
    box.xmin, box.ymin, box.xmax, box.ymax = 0.2, 0.2, 0.8, 0.6
    return record.SerializeToString()


def with_batch(example: Example, rows: int, axis: int = 0) -> Any:
    """The example's net with another number of rows: that of an axis of the first input, and every batch_size."""
    message = type(example.message)()
    message.CopyFrom(example.message)
    first = [s.dim[axis] for layer in message.layer for s in source_shapes(layer) if s.dim]
    for layer in message.layer:
        for shape in source_shapes(layer):
            if len(shape.dim) > axis and shape.dim[axis] == first[0]:
                shape.dim[axis] = rows
        for _, value in layer.ListFields():
            if "batch_size" in getattr(getattr(value, "DESCRIPTOR", None), "fields_by_name", ()):
                value.batch_size = rows
    return message


def source_shapes(layer: Any) -> list[Any]:
    """The shapes that an Input, DummyData or Parameter layer declares."""
    homes = {"Input": "input_param", "DummyData": "dummy_data_param", "Parameter": "parameter_param"}
    if layer.type not in homes:
        return []
    found = getattr(layer, homes[layer.type]).shape
    return [found] if layer.type == "Parameter" else list(found)
