"""Whole nets: what a state keeps, every shape of the published nets, values and gradients of small and slim nets."""

from __future__ import annotations

import json
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_data import arrays, golden, golden_json

import netspec.pycaffe as caffe
from netspec.errors import SpecError

MEAN = np.array((104.00698793, 116.66876762, 122.67891434), np.float32)
RULES = golden_json("nets/rules.json")
SHAPES = golden_json("nets/shapes.json")


def cases(group: str) -> list[str]:
    try:
        return sorted(p.name for p in golden(f"nets/{group}").iterdir())
    except pytest.skip.Exception:
        return []


def open_net(tmp_path: Path, text: str, phase: str, level: int = 0, stages: Any = None) -> caffe.Net:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), getattr(caffe, phase), level=level, stages=stages)


def check_structure(net: caffe.Net, want: dict[str, Any]) -> None:
    """Layers, wiring, blobs, params and loss weights, with the splits that Caffe inserts."""
    names = list(net._layer_names)
    assert names == [layer[0] for layer in want["layers"]]
    assert [view.type for view in net.layers] == [layer[1] for layer in want["layers"]]
    for name, _, bottoms, tops in want["layers"]:
        if names.count(name) == 1:
            assert net.bottom_names[name] == bottoms
            assert net.top_names[name] == tops
    assert list(net.blobs) == want["blobs"]
    assert list(net.inputs) == want["inputs"]
    assert list(net.outputs) == want["outputs"]
    assert {k: [list(b.shape) for b in v] for k, v in net.params.items()} == want["params"]
    weights = {k: w for k, w in net.blob_loss_weights.items() if w}
    assert weights == pytest.approx(want["loss_weights"])


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, entry in RULES.items() for i in range(len(entry["runs"]))]
)
def test_rules(name: str, number: int, tmp_path: Path) -> None:
    run = RULES[name]["runs"][number]
    arguments = (tmp_path, RULES[name]["prototxt"], run["phase"], run["level"], run["stages"])
    if "check_failed" in run:
        with pytest.raises(SpecError):
            open_net(*arguments)
        return
    net = open_net(*arguments)
    check_structure(net, run)
    assert {n: list(b.shape) for n, b in net.blobs.items()} == run["shapes"]


@lru_cache(maxsize=1)
def texts() -> dict[str, dict[str, Any]]:
    """Nets whose text is at hand, `same_as` filled in."""
    out = {}
    for key, entry in SHAPES.items():
        full = {**SHAPES[entry["same_as"]], **entry} if "same_as" in entry else entry
        if "prototxt" in entry and "same_as" not in entry:
            out[key] = full
    return out


@pytest.mark.parametrize("key", list(texts()))
def test_shapes_of_published_nets(key: str, tmp_path: Path) -> None:
    entry = texts()[key]
    net = open_net(tmp_path, (golden("nets") / entry["prototxt"]).read_text(), entry["phase"], 0, entry.get("stages"))
    check_structure(net, entry)
    for size, want in entry["sizes"].items():
        try_size(net, entry, size, want)


def try_size(net: caffe.Net, entry: dict[str, Any], size: str, want: dict[str, Any]) -> None:
    refused = "check_failed" in want
    spatial = re.match(r"(\d+)x(\d+)$", size)
    for blob in (top for layer in entry["layers"] if layer[1] == "Input" for top in layer[3]):
        shape = list((entry["sizes"]["file"] if refused else want)[blob])
        if refused and spatial:
            shape[2:] = [int(spatial[1]), int(spatial[2])]
        net.blobs[blob].reshape(*shape)
    if refused:
        with pytest.raises(SpecError):
            net.reshape()
        return
    net.reshape()
    assert {n: list(b.shape) for n, b in net.blobs.items()} == want, size


class Replay:
    """A small or slim case: steps of forward, clear and backward, values compared on the way."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        self.case = json.loads((folder / "case.json").read_text())
        self.arrays = arrays(folder / "data.npz")
        self.net = open_net(tmp_path, (folder / "net.prototxt").read_text(), self.case["phase"])

    def close(self, key: str, got: Any, tolerance: float, outliers: float = 0.0, floor: float = 0.0) -> None:
        """Compares an array with the one kept whole, or with every k-th value and the sums."""
        got = np.asarray(got, np.float64)
        if key in self.arrays:
            self.near(key, got, self.arrays[key], tolerance, outliers, floor)
        for kept in self.arrays:
            if kept.startswith(key + ":"):
                self.near(kept, got.ravel()[:: int(kept[len(key) + 1 :])], self.arrays[kept], tolerance, outliers)
                total = self.arrays[f"sum.{key}"]
                bound = 2 * tolerance * max(total[1], 1e-30)
                assert abs(got.sum() - total[0]) <= bound and abs(np.abs(got).sum() - total[1]) <= bound, key

    def near(self, key: str, got: Any, want: Any, tolerance: float, outliers: float, floor: float = 0.0) -> None:
        want = np.asarray(want, np.float64)
        assert got.shape == want.shape, key
        if want.size:
            error = np.abs(got - want) / max(np.abs(want).max(), floor, 1e-30)
            assert np.isfinite(got).all() and (error > tolerance).mean() <= outliers, (key, error.max())

    def params(self, prefix: str, tolerance: float, diff: bool, outliers: float = 0.0, floor: float = 0.0) -> None:
        for layer, blobs in self.net.params.items():
            for i, blob in enumerate(blobs):
                self.close(f"{prefix}{layer}.{i}", blob.diff if diff else blob.data, tolerance, outliers, floor)

    def set_up(self) -> None:
        for key, value in self.arrays.items():
            if key.startswith("param."):
                layer, index = key[6:].rsplit(".", 1)
                self.net.params[layer][int(index)].data[...] = value

    def step(self, number: int, step: dict[str, Any]) -> None:
        prefix = f"@{number}." if number else ""
        self.fill(prefix)
        case, out = self.case, self.case.get("outliers", 0.0)
        if step.get("forward") is not None:
            self.net.forward(**step["forward"])
            for name in self.net.blobs:
                self.close(f"{prefix}out.{name}", self.net.blobs[name].data, case["tol_out"], out)
        if step.get("clear"):
            self.net.clear_param_diffs()
        if step.get("backward") is not None:
            self.backward(prefix, step["backward"])
        for layer in step.get("params", []):
            for i, blob in enumerate(self.net.params[layer]):
                self.close(f"{prefix}after.{layer}.{i}", blob.data, case["tol_out"])

    def fill(self, prefix: str) -> None:
        given = {k[len(prefix) + 3 :]: v for k, v in self.arrays.items() if k.startswith(f"{prefix}in.")}
        for name, value in given.items():
            self.net.blobs[name].reshape(*value.shape)
        if any(name in self.net.inputs for name in given):
            self.net.reshape()
        for name, value in given.items():
            self.net.blobs[name].data[...] = value

    def backward(self, prefix: str, arguments: dict[str, Any]) -> None:
        case, out = self.case, self.case.get("outliers", 0.0)
        for key, value in self.arrays.items():
            if key.startswith(f"{prefix}topdiff."):
                self.net.blobs[key[len(prefix) + 8 :]].diff[...] = value
        self.net.backward(**arguments)
        for name in self.net.blobs:
            self.close(f"{prefix}din.{name}", self.net.blobs[name].diff, case["tol_grad"], out)
        largest = max((np.abs(v).max() for k, v in self.arrays.items() if "dparam." in k and v.size), default=0)
        self.params(f"{prefix}dparam.", case["tol_grad"], True, out, case.get("grad_floor", 0) * largest)


@pytest.mark.parametrize("group_and_name", [f"{g}/{n}" for g in ("small", "slim") for n in cases(g)])
def test_values_and_gradients(group_and_name: str, tmp_path: Path) -> None:
    replay = Replay(golden("nets") / group_and_name, tmp_path)
    replay.set_up()
    for number, step in enumerate(replay.case["steps"]):
        replay.step(number, step)


def recipe(name: str, blobs: list[Any]) -> None:
    """The weights of the full-size case: He-scaled normal numbers seeded by the layer's name, bilinear `up*`."""
    shape = blobs[0].shape
    if name.startswith("up"):
        f = (shape[-1] + 1) // 2
        line = 1 - np.abs(np.arange(shape[-1]) - (f - 1 if shape[-1] % 2 else f - 0.5)) / f
        blobs[0].data[range(shape[0]), range(shape[1])] = line[:, None] * line[None, :]
        return
    rs = np.random.RandomState(zlib.crc32(name.encode()))
    blobs[0].data[...] = rs.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    if len(blobs) > 1:
        blobs[1].data[...] = 0.1 * rs.standard_normal(blobs[1].shape)


@pytest.mark.long
def test_full_size_fcn8s(tmp_path: Path) -> None:
    folder = golden("nets/full/voc-fcn8s-deploy")
    want = arrays(folder / "data.npz")
    net = open_net(tmp_path, (folder / "net.prototxt").read_text(), "TEST")
    for layer, blobs in net.params.items():
        recipe(layer, blobs)
    x = (want["image"][:, :, ::-1].astype(np.float32) - MEAN).transpose(2, 0, 1)
    net.blobs["data"].reshape(1, *x.shape)
    net.blobs["data"].data[...] = x
    net.forward()
    score = net.blobs["score"].data[0]
    assert (score.argmax(0) == want["argmax"]).mean() >= 0.9995
    rows = [
        (score[:, ::25, ::25] / want["score_max_abs"], want["score"] / want["score_max_abs"]),
        (score.mean((1, 2), dtype="f8"), want["score_mean"]),
        (score.std((1, 2), dtype="f8"), want["score_std"]),
        (net.blobs["score_fr"].data[0], want["score_fr"]),
        (net.blobs["score_pool4"].data[0], want["score_pool4"]),
        (net.blobs["pool5"].data[0].mean((1, 2), dtype="f8"), want["pool5.mean"]),
    ]
    for got, expected in rows:
        assert np.abs(got - expected).max() <= 2e-4 * np.abs(expected).max()
