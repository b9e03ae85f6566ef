"""Files of Caffe through the interface: NetSpec, coordinate maps, transforms, weights, snapshots, data layers."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from golden_data import arrays, golden, golden_json

import netspec.pycaffe as caffe
from netspec.errors import SpecError

SPEC = golden_json("files/spec/spec.json")
TRANSFORM = golden_json("files/transform/transform.json").get("cases", {})
LOADS = golden_json("files/models/loads.json")
SNAPSHOTS = golden_json("files/models/snapshots.json")
DATA = golden_json("files/data/data.json").get("data_layers", {})


def near(got: Any, want: np.ndarray, tolerance: float, what: str) -> None:
    """The largest error, in parts of the largest value."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, what
    if want.size:
        assert np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-30), what


@pytest.fixture
def programs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("programs", golden("files/spec") / "programs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A part of the files as the current folder."""

    def copy(part: str) -> Path:
        shutil.copytree(golden(f"files/{part}"), tmp_path / part)
        monkeypatch.chdir(tmp_path / part)
        return tmp_path / part

    return copy


@pytest.mark.parametrize("name", SPEC.get("nets", ()))
def test_texts_of_net_specs(name: str, programs: ModuleType) -> None:
    want = (golden("files/spec") / SPEC["nets"][name]).read_text()
    assert str(programs.NETS[name](caffe)) == want


@pytest.mark.parametrize("name", SPEC.get("net_errors", ()))
def test_errors_of_net_specs(name: str, programs: ModuleType) -> None:
    with pytest.raises(Exception) as found:
        programs.NETS[name](caffe)
    assert type(found.value).__name__ == SPEC["net_errors"][name][0]


@pytest.mark.parametrize("name", SPEC.get("coord_map", ()))
def test_coordinate_maps(name: str, programs: ModuleType) -> None:
    want, tops = SPEC["coord_map"][name], programs.COORDS[name](caffe)
    if "raises" in want:
        with pytest.raises(Exception) as found:
            caffe.coord_map.coord_map_from_to(*tops)
        assert type(found.value).__name__ == want["raises"]
    else:
        axis, scale, shift = caffe.coord_map.coord_map_from_to(*tops)
        assert axis == want["axis"] and np.allclose(scale, want["scale"]) and np.allclose(shift, want["shift"])
    if "raises" in want["crop"]:
        with pytest.raises(Exception) as found:
            caffe.coord_map.crop(*tops)
        assert type(found.value).__name__ == want["crop"]["raises"]
    else:
        assert caffe.coord_map.crop(*tops).fn.params["crop_param"] == want["crop"]


@pytest.mark.parametrize("name", TRANSFORM)
def test_transformers(name: str) -> None:
    z, case = arrays(golden("files/transform/transform.npz")), TRANSFORM[name]
    transformer = caffe.io.Transformer({"data": tuple(case["inputs"])})
    for key in ("transpose", "channel_swap", "raw_scale", "mean", "input_scale"):
        if key in case:
            getattr(transformer, f"set_{key}")("data", z[f"{name}.{key}"] if case[key] == "array" else case[key])
    near(transformer.preprocess("data", z[f"{name}.in"].copy()), z[f"{name}.out"], 1e-5, name)
    if f"{name}.deprocessed" in z:
        near(transformer.deprocess("data", z[f"{name}.out"]), z[f"{name}.deprocessed"], 1e-5, name)


def test_image_functions() -> None:
    z = arrays(golden("files/transform/transform.npz"))
    near(caffe.io.resize_image(z["resize_image.in"], (21, 9)), z["resize_image.out"], 1e-5, "order 1")
    near(caffe.io.resize_image(z["resize_image.in"], (21, 9), 3), z["resize_image.order3"], 1e-5, "order 3")
    near(caffe.io.resize_image(np.full((5, 4, 3), 0.25, "f4"), (3, 2)), z["resize_constant.out"], 1e-6, "constant")
    near(caffe.io.oversample(list(z["oversample.in"]), (6, 5)), z["oversample.out"], 1e-6, "oversample")


@pytest.mark.parametrize("name", LOADS)
def test_weights(name: str, copied: Any) -> None:
    copied("models")
    case = LOADS[name]
    net = caffe.Net(case["net"], caffe.TEST)
    before = {f"{layer}.{i}": b.data.copy() for layer, blobs in net.params.items() for i, b in enumerate(blobs)}
    if "check_failed" in case:
        with pytest.raises(SpecError):
            load(net, case)
        return
    load(net, case)
    want = arrays(Path(case["values"]))
    for layer, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            key = f"{layer}.{i}"
            near(blob.data, before[key] if layer == "conv_new" else want[key], 1e-7, key)
    for key in [k for k in want if k.startswith("input:")]:
        net.blobs[key[6:]].data[...] = want[key]
    if any(k.startswith("output:") for k in want):
        net.forward()
    for key in [k for k in want if k.startswith("output:")]:
        near(net.blobs[key[7:]].data, want[key], 1e-4, key)


def load(net: caffe.Net, case: dict[str, Any]) -> None:
    for file in case["weights"]:
        getattr(net, "load_hdf5" if case["how"] == "load_hdf5" else "copy_from")(file)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_snapshots(name: str, copied: Any) -> None:
    copied("models")
    case = SNAPSHOTS[name]
    kind = "HDF5" if name.endswith(".h5") else "BINARYPROTO"
    lines = [
        case["solver"],
        "max_iter: 10",
        'snapshot_prefix: "again"',
        f"snapshot_format: {kind}",
        'net: "net.prototxt"',
    ]
    Path("solver.prototxt").write_text("\n".join([*lines, f"snapshot_diff: {str(case['snapshot_diff']).lower()}"]))
    solver = caffe.get_solver("solver.prototxt")
    solver.restore(name)
    assert solver.iter == case["iter"]
    want = arrays(Path(case["values"]))
    for layer, blobs in solver.net.params.items():
        for i, blob in enumerate(blobs):
            near(blob.data, want[f"{layer}.{i}"], 1e-7, f"{layer}.{i}")
    solver.snapshot()
    again = caffe.get_solver("solver.prototxt")
    again.restore("again" + name[name.index("_iter_") :])
    assert again.iter == solver.iter
    for mine, theirs in zip(again.core.update.stored(), range(case["history"]), strict=True):
        near(mine.numpy(), want[f"history.{theirs}"], 1e-7, f"history {theirs}")


@pytest.mark.parametrize("name", DATA)
def test_data_layers(name: str, copied: Any) -> None:
    copied("data")
    case, want = DATA[name], arrays(golden("files/data/data_layers.npz"))
    Path("one.prototxt").write_text(case["prototxt"])
    if "check_failed" in case:
        with pytest.raises(SpecError):
            caffe.Net("one.prototxt", caffe.TEST).forward()
        return
    net = caffe.Net("one.prototxt", caffe.TEST)
    for batch in range(case["batches"]):
        net.forward()
        for blob in net.blobs:
            near(net.blobs[blob].data, want[f"{name}.{batch}.{blob}"], 1e-5, f"{blob} of batch {batch}")
