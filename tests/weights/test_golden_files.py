"""Every model and solver state that Caffe wrote: read to the last bit, and written as Caffe writes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from golden_data import arrays, golden, golden_json, real_data

from netspec import weights
from netspec.errors import SpecError
from netspec.spec import text
from netspec.weights import caffemodel, solverstate

SNAPSHOTS = golden_json("files/models/snapshots.json")


def folder() -> Path:
    return golden("files/models")


def tree(path: Path, top: str) -> list:
    """Groups and datasets as snapshots.json lists them."""
    out: list = []

    def visit(name: str, item: object) -> None:
        whole = f"{top}/{name}".lstrip("/")
        kind = [whole, list(item.shape), str(item.dtype)] if isinstance(item, h5py.Dataset) else whole
        out.append(kind)

    with h5py.File(path) as file:
        if top in file or not top:
            file.visititems(visit) if not top else file[top].visititems(visit)
    return out


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_model_of_a_snapshot(name: str) -> None:
    case = SNAPSHOTS[name]
    values = arrays(folder() / case["values"])
    model = weights.read(folder() / case["model"])
    stored = {f"{s.name}.{i}": b for s in model.layers for i, b in enumerate(s.blobs) if b is not None}
    diffs = {f"diff.{s.name}.{i}": d for s in model.layers for i, d in enumerate(s.diffs) if d is not None}
    for key, value in (stored | diffs).items():
        np.testing.assert_array_equal(value, values[key].reshape(value.shape), err_msg=key)
    assert bool(diffs) == case["snapshot_diff"]
    if "model_layers" in case:
        sizes = [[0 if d is None else d.size for d in s.diffs] for s in model.layers]
        shapes = [[list(b.shape) for b in s.blobs] for s in model.layers]
        assert [[s.name, s.type, a, d] for s, a, d in zip(model.layers, shapes, sizes, strict=True)] == [
            list(layer) for layer in case["model_layers"]
        ]
        assert model.name == case["model_name"]
        assert set(stored) == {k for k in values if not k.startswith(("diff.", "history."))}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_solver_state(name: str, tmp_path: Path) -> None:
    case = SNAPSHOTS[name]
    values = arrays(folder() / case["values"])
    state = solverstate.read(folder() / name)
    assert (state.iter, state.current_step, state.learned_net) == (
        case["iter"],
        case["current_step"],
        case["learned_net"],
    )
    assert len(state.history) == case["history"]
    for i, blob in enumerate(state.history):
        np.testing.assert_array_equal(blob, values[f"history.{i}"])
    solverstate.write(tmp_path / name, state)
    if name.endswith(".h5"):
        assert tree(tmp_path / name, "") == case["state_tree"]
        again = solverstate.read(tmp_path / name)
        assert (again.iter, again.learned_net) == (state.iter, state.learned_net)
        assert all(np.array_equal(a, b) for a, b in zip(again.history, state.history, strict=True))
    else:
        assert (tmp_path / name).read_bytes() == (folder() / name).read_bytes()


@pytest.mark.parametrize("name", [n for n in SNAPSHOTS if n.endswith(".h5")])
def test_hdf5_layout(name: str, tmp_path: Path) -> None:
    """From the binary model of the same snapshot, the tree Caffe writes: shared values with their owner only."""
    case = SNAPSHOTS[name]
    model = weights.read(folder() / case["model"].removesuffix(".h5"))
    weights.write(tmp_path / "x.caffemodel.h5", model)
    out: list = []
    for top in ("data", "diff"):
        found = tree(tmp_path / "x.caffemodel.h5", top)
        out += [top, *found] if found else []
    assert out == case["model_tree"]
    again = weights.read(tmp_path / "x.caffemodel.h5")
    assert [(s.name, s.type) for s in again.layers] == [(s.name, s.type) for s in model.layers]


def test_hdf5_to_binary_needs_the_net_for_shared_blobs(tmp_path: Path) -> None:
    model = weights.read(folder() / "sgd_iter_3.caffemodel.h5")
    with pytest.raises(SpecError, match="layer 'twin': blob 0 is stored under the layer"):
        weights.write(tmp_path / "x.caffemodel", model)
    net = text.read(folder() / "net.prototxt").message
    weights.write(tmp_path / "x.caffemodel", model, net)
    blobs = weights.read(tmp_path / "x.caffemodel").blobs()
    np.testing.assert_array_equal(blobs["twin"][0], blobs["side"][0])


@pytest.mark.parametrize(("name", "factor"), [("v1", 1), ("v0", 2), ("double", 4), ("v1_upgraded", 1)])
def test_old_forms(name: str, factor: int) -> None:
    values = arrays(folder() / "old_values.npz")
    blobs = caffemodel.read(folder() / f"{name}.caffemodel").blobs()
    for key, value in values.items():
        layer, index = key.rsplit(".", 1)
        np.testing.assert_array_equal(blobs[layer][int(index)], factor * value)


@pytest.mark.parametrize("name", ["v1", "v0"])
def test_old_net_is_upgraded_as_caffe_does(name: str) -> None:
    old = caffemodel.read(folder() / f"{name}.caffemodel")
    new = caffemodel.read(folder() / f"{name}_upgraded.caffemodel")
    assert [(s.name, s.type) for s in old.layers if s.name != "pad"] == [(s.name, s.type) for s in new.layers][
        -len(old.layers) :
    ]
    assert old.net == new.net


def snapshots() -> list[Path]:
    return sorted(golden("solvers").glob("*/*.caffemodel")) + sorted(golden("solvers").glob("*/*.solverstate"))


def test_written_byte_for_byte_as_caffe_does(tmp_path: Path) -> None:
    files = snapshots()
    assert files
    for path in files:
        out = tmp_path / path.name
        if path.suffix == ".caffemodel":
            weights.write(out, weights.read(path))
        else:
            solverstate.write(out, solverstate.read(path))
        assert out.read_bytes() == path.read_bytes(), path


def test_hdf5_snapshots_of_solvers() -> None:
    for path in golden("solvers").glob("*/*.caffemodel.h5"):
        state = solverstate.read(str(path).replace("caffemodel", "solverstate"))
        assert Path(state.learned_net).name == path.name
        assert len(state.history) == sum(len(s.blobs) for s in weights.read(path).layers)


@pytest.mark.parametrize("name", [n for n in SNAPSHOTS if not n.endswith(".h5")])
def test_second_round_trip_changes_no_byte(name: str, tmp_path: Path) -> None:
    weights.write(tmp_path / "a.caffemodel", weights.read(folder() / SNAPSHOTS[name]["model"]))
    weights.write(tmp_path / "b.caffemodel", weights.read(tmp_path / "a.caffemodel"))
    assert (tmp_path / "a.caffemodel").read_bytes() == (tmp_path / "b.caffemodel").read_bytes()


def test_a_model_of_2014() -> None:
    model = weights.read(real_data() / "models" / "lenet_v1_10000.caffemodel")
    shapes = {name: [b.shape for b in blobs] for name, blobs in model.blobs().items()}
    assert shapes == {
        "conv1": [(20, 1, 5, 5), (20,)],
        "conv2": [(50, 20, 5, 5), (50,)],
        "ip1": [(500, 800), (500,)],
        "ip2": [(10, 500), (10,)],
    }
    assert [layer.type for layer in model.layers][:3] == ["Data", "Convolution", "Pooling"]
    assert model.net.layer[1].param[1].lr_mult == 2
    state = solverstate.read(real_data() / "models" / "lenet_v1_10000.solverstate")
    assert (state.iter, len(state.history)) == (10000, 8)
    assert state.history[4].shape == (1, 1, 500, 800)
