"""Every golden layer case, forward and backward, through the pycaffe interface."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_data import arrays, golden, golden_json

import netspec.pycaffe as caffe

MANIFEST = golden_json("layers/manifest.json")
HUGE = 1e30


def assert_close(key: str, got: Any, want: np.ndarray, entry: dict[str, Any]) -> None:
    """|got - want| <= atol max(1, max |want|) + rtol |want|; huge values need sign and size only."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, key
    huge = np.abs(want) >= HUGE
    assert (np.abs(got[huge]) >= HUGE).all() and (np.sign(got[huge]) == np.sign(want[huge])).all(), key
    if (~huge).any():
        scale = max(1.0, float(np.abs(want[~huge]).max()))
        np.testing.assert_allclose(got[~huge], want[~huge], rtol=entry["rtol"], atol=entry["atol"] * scale, err_msg=key)


@pytest.fixture
def case_folder(entry: dict[str, Any], tmp_path: Path) -> Iterator[Path]:
    """The net and its files in a folder of their own, which is the current one."""
    kind, name = entry["case"].split("/")
    root = golden("layers")
    shutil.copy(root / kind / f"{name}.prototxt", tmp_path)
    for file in entry.get("files", ()):
        to = tmp_path / file.split("/", 1)[1]
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, to)
    home = os.getcwd()
    os.chdir(tmp_path)
    yield tmp_path / f"{name}.prototxt"
    gc.collect()
    os.chdir(home)


class Case:
    """One case: its net, its arrays, and the steps that the set's README prescribes."""

    def __init__(self, proto: Path, entry: dict[str, Any]) -> None:
        kind, name = entry["case"].split("/")
        self.proto, self.entry = str(proto), entry
        self.arrays = arrays(golden("layers") / kind / f"{name}.npz")
        state = {k: entry[k] for k in ("level", "stages") if entry.get(k)}
        self.net = caffe.Net(self.proto, getattr(caffe, entry["phase"]), **state)

    def section(self, prefix: str) -> list[tuple[str, str, np.ndarray]]:
        return [(k, k[len(prefix) :], v) for k, v in sorted(self.arrays.items()) if k.startswith(prefix)]

    def param(self, key: str) -> Any:
        layer, index = key.rsplit(".", 1)
        return self.net.params[layer][int(index)]

    def compare(self, prefix: str, get: Any) -> None:
        for key, name, want in self.section(prefix):
            assert_close(key, get(name), want, self.entry)

    def fill(self) -> None:
        for blob, shape in sorted(self.entry.get("reshape", {}).items()):
            self.net.blobs[blob].reshape(*shape)
        if "reshape" in self.entry:
            self.net.reshape()
        self.compare("init.", lambda n: self.param(n).data)
        for key, name, value in self.section("param."):
            assert self.param(name).data.shape == value.shape, key
            self.param(name).data[...] = value
        if "mem.data" in self.arrays:
            self.net.set_input_arrays(self.arrays["mem.data"].copy(), self.arrays["mem.labels"].copy())
        for key, name, value in self.section("in."):
            assert self.net.blobs[name].data.shape == value.shape, key
            self.net.blobs[name].data[...] = value

    def follow(self) -> None:
        schedule = self.entry["schedule"]
        for at, step in enumerate(schedule):
            if step == "f":
                outs = self.net.forward()
                if at == schedule.rfind("f"):
                    assert sorted(outs) == sorted(self.entry["outputs"])
                    self.compare("out.", lambda n: self.net.blobs[n].data)
            elif step == "b":
                for _, name, value in self.section("dout."):
                    self.net.blobs[name].diff[...] = value
                self.net.backward()
            else:
                self.net.clear_param_diffs()

    def finish(self) -> None:
        self.compare("param_after.", lambda n: self.param(n).data)
        self.compare("din.", lambda n: self.net.blobs[n].diff)
        self.compare("dparam.", lambda n: self.param(n).diff)
        weights = {name: w for name, w in self.net.blob_loss_weights.items() if w}
        assert weights == pytest.approx(self.entry.get("loss_weights", {}))

    def names(self) -> list[str]:
        return [n for n in self.net._layer_names if n not in self.entry.get("automatic_splits", ())]


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda e: e["case"])
def test_layer_case(entry: dict[str, Any], case_folder: Path) -> None:
    if entry.get("quirk") and entry["case"] in DIFFERENCES:
        pytest.skip(DIFFERENCES[entry["case"]])
    case = Case(case_folder, entry)
    case.fill()
    assert list(case.net.inputs) == entry["inputs"]
    assert list(case.net.outputs) == entry["outputs"]
    assert case.names() == entry.get("layers", case.names())
    case.follow()
    case.finish()
    check_states(case)
    check_written_file(case)


def check_states(case: Case) -> None:
    for want in case.entry.get("states", ()):
        net = caffe.Net(case.proto, getattr(caffe, want["phase"]), level=want["level"], stages=want["stages"])
        assert [n for n in net._layer_names if n in want["layers"] or not n.endswith("_split")] == want["layers"]
        assert set(want["blobs"]) <= set(net.blobs)
        assert list(net.outputs) == want["outputs"]
        assert list(net.inputs) == want["inputs"]


def check_written_file(case: Case) -> None:
    if "h5out" not in case.entry:
        return
    import h5py

    del case.net
    gc.collect()
    with h5py.File(case.entry["h5out"], "r") as file:
        case.compare("h5.", lambda n: file[n][...])


BOTTOM_KEPT = "a layer in place keeps the bottom it read, so its gradient is that of two blobs"
NOT_SHARED = "a top that only reshapes or repeats its bottom is a value of its own: later changes in place stay there"
DIFFERENCES: dict[str, str] = {
    "bnll/in_place": BOTTOM_KEPT,
    "clip/in_place": BOTTOM_KEPT,
    "net_in_place/after_flatten": NOT_SHARED,
    "net_in_place/after_reshape": NOT_SHARED,
    "net_in_place/after_split": NOT_SHARED,
    "net_params/legacy_dims": "a parameter has the shape of its layer, whatever axes the net file writes its values in",
}
"""Quirks that netspec does not share, by choice; docs/differences.md says more."""
