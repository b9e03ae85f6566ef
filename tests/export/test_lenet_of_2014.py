"""LeNet as a Caffe of 2014 saved it: the net is read from the weight file itself, gives Caffe's 99.05 % of the MNIST
test images in netspec and in what it is converted to, and trains on from its solver state.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from golden_data import real_data

from netspec import schema, weights
from netspec.cli import main
from netspec.export import onnx_file, program
from netspec.export.plan import ready, stored_graph
from netspec.layers import Context
from netspec.solver import Solver

SOLVER = Path(__file__).parents[2] / "solvers/lenet.prototxt"
RIGHT = 9905
SCALE = 0.00390625
LONG = pytest.mark.long


def model() -> Path:
    return real_data() / "models/lenet_v1_10000.caffemodel"


def read(name: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.open(real_data() / "mnist" / name).read(), np.uint8, offset=header)


def images() -> np.ndarray:
    return read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)


def labels() -> np.ndarray:
    return read("t10k-labels-idx1-ubyte.gz", 8)


def in_netspec(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    stored = weights.read(model())
    net = ready(stored_graph(stored, model()), stored)
    return lambda x: net(data=torch.from_numpy(x))["prob"].numpy()


def in_onnx(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    pytest.importorskip("onnxruntime")
    assert main(["convert", str(model()), str(folder / "lenet.onnx"), "-q"]) == 0
    return lambda x: onnx_file.run(folder / "lenet.onnx", [{"data": x}])[0]["prob"]


def in_source(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    assert main(["convert", str(model()), str(folder / "lenet.py"), "-q"]) == 0
    spec = importlib.util.spec_from_file_location("lenet", folder / "lenet.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.load().requires_grad_(False)
    return lambda x: net(torch.from_numpy(x)).numpy()


def in_program(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    assert main(["convert", str(model()), str(folder / "lenet.pt2"), "-q"]) == 0
    return lambda x: next(iter(program.run(folder / "lenet.pt2", [{"data": x}])[0].values()))


@pytest.mark.parametrize(
    "form", [in_netspec, in_onnx, pytest.param(in_source, marks=LONG), pytest.param(in_program, marks=LONG)]
)
def test_as_many_right_as_in_caffe(form: Callable, tmp_path: Path) -> None:
    classify = form(tmp_path)
    found = [classify(part * np.float32(SCALE)).argmax(1) for part in np.array_split(images(), 10)]
    assert (np.concatenate(found) == labels()).sum() == RIGHT


def database(folder: Path, count: int) -> None:
    """The first test images as a database of Datum messages."""
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for i, (image, label) in enumerate(zip(images()[:count], labels(), strict=False)):
            datum = schema.new("Datum", channels=1, height=28, width=28, data=image.tobytes(), label=int(label))
            transaction.put(b"%08d" % i, datum.SerializeToString())


def test_its_solver_state_resumes(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for name in ("train", "test"):
        database(tmp_path / "mnist" / f"mnist_{name}_lmdb", 1000)
    settings = {"test_iter": 10, "test_initialization": False, "snapshot": 0, "max_iter": 10010}
    solver = Solver(SOLVER, overrides=settings, context=Context(data_root=tmp_path, seed=1), seed=1)
    solver.restore(real_data() / "models/lenet_v1_10000.solverstate")
    assert solver.iter == 10000
    (test,) = solver.test()
    assert test["outputs"]["accuracy"] == pytest.approx(0.99, abs=5e-3)
    solver.step(5)
    assert solver.smoothed_loss < 0.05
