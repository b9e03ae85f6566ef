"""netspec diff: its status, its text, its JSON, its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netspec import weights
from netspec.cli import main
from netspec.weights import Model, StoredLayer

PROTOTXT = Path(__file__).parents[2] / "prototxt"
FCN32, FCN8 = (str(PROTOTXT / f"voc-fcn{n}s/train.prototxt") for n in (32, 8))

FAULTS = [
    ("pad: 100", "pad: 99"),
    ('bottom: "fc6"\n  top: "fc7"', 'bottom: "pool5"\n  top: "fc7"'),
    ("dropout_ratio: 0.5", "dropout_ratio: 0.6"),
    ('name: "pool3"', 'name: "pool_three"'),
    ("offset: 31", "offset: 30"),
    ("normalize: false", "normalize: true"),
    ("num_output: 4096", "num_output: 4097"),
    ('type: "ReLU"', 'type: "Sigmoid"'),
    ("lr_mult: 2.0", "lr_mult: 1.0"),
    ("operation: SUM", "operation: MAX"),
]


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["diff", *arguments])
    return status, capsys.readouterr().out


def test_the_story_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = out(capsys, FCN32, FCN8)
    lines = [line.split() for line in text.splitlines()]
    assert status == 1 and len(lines) < 25
    for added in (
        "upscore2",
        "score_pool4",
        "score_pool4c",
        "fuse_pool4",
        "upscore_pool4",
        "score_pool3",
        "score_pool3c",
        "fuse_pool3",
    ):
        assert any(line[:2] == ["+", added] for line in lines)
    for line in (
        "~ upscore → upscore8",
        "kernel_size 64 → 16",
        "stride 32 → 8",
        "reads score_fr → fuse_pool3",
        "offset 19 → 31",
    ):
        assert any(found[: len(line.split())] == line.split() for found in lines), line


def test_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = out(capsys, FCN8, FCN8)
    assert status == 0 and "the same: 50 layers" in text


def test_ten_faults_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = Path(FCN8).read_text()
    for old, new in FAULTS:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "faulty.prototxt").write_text(text)
    status, found = out(capsys, FCN8, str(tmp_path / "faulty.prototxt"), "--json")
    changes = json.loads(found)["phases"][0]["changes"]
    assert status == 1
    assert sorted((c["kind"], c["names"][0], c["field"]) for c in changes) == sorted([
        ("changed", "conv1_1", "convolution_param.pad"),
        ("changed", "conv1_1", "param[1].lr_mult"),
        ("changed", "relu1_1", "type"),
        ("renamed", "pool3", None),
        ("changed", "fc6", "convolution_param.num_output"),
        ("changed", "drop6", "dropout_param.dropout_ratio"),
        ("rewired", "fc7", None),
        ("changed", "fuse_pool4", "eltwise_param.operation"),
        ("changed", "score", "crop_param.offset"),
        ("changed", "loss", "loss_param.normalization"),
    ])  # fmt: skip


STRUCTURE = (
    ('bottom: "pool3"\n  top: "conv4_1"', 'bottom: "norm3"\n  top: "conv4_1"'),
    (
        'layer {\n  name: "conv4_1"',
        'layer { name: "norm3" type: "LRN" bottom: "pool3" top: "norm3" }\nlayer {\n  name: "conv4_1"',
    ),
    ('layer {\n  name: "relu5_2"\n  type: "ReLU"\n  bottom: "conv5_2"\n  top: "conv5_2"\n}\n', ""),
    ('name: "relu1_1"', 'name: "r11"'),
    ('name: "conv1_2"', 'name: "c12"'),
    ('name: "relu1_2"', 'name: "r12"'),
    ('bottom: "upscore2"\n  bottom: "score_pool4c"', 'bottom: "score_pool4c"\n  bottom: "upscore2"'),
    ('name: "relu6"\n  type: "ReLU"', 'name: "relu6"\n  type: "TanH"'),
    ("seed\\': 1337", "seed\\': 1338"),
    ("axis: 2\n    offset: 31", "axis: 3\n    offset: 31"),
)


def test_ten_faults_of_structure_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = Path(FCN8).read_text()
    for old, new in STRUCTURE:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "faulty.prototxt").write_text(text)
    status, found = out(capsys, FCN8, str(tmp_path / "faulty.prototxt"))
    assert status == 1 and "50 → 50 layers: 1 removed, 1 added, 7 changed, 42 the same" in found
    told = [line.split() for line in found.splitlines() if line[:1] in "+-~ " and "the same" not in line]
    assert [" ".join(words) for words in told if words and words[0] not in ("---", "+++")] == [
        "~ data Python line 3 → 3", "param_str seed 1337 → 1338",
        "~ 3 layers renamed relu1_1 → r11, conv1_2 → c12, relu1_2 → r12",
        "+ norm3 LRN(pool3) read by conv4_1",
        "- relu5_2 ReLU(conv5_2) was read by conv5_3",
        "~ relu6 TanH line 427 → 422", "type 'ReLU' → 'TanH'",
        "~ fuse_pool4 Eltwise line 541 → 536",
        "reads bottom 0: upscore2 → score_pool4c, bottom 1: score_pool4c → upscore2",
        "~ score Crop line 621 → 616", "axis 2 → 3",
    ]  # fmt: skip


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = out(capsys, FCN32, FCN8, "--json")
    data = json.loads(text)
    assert (data["a"], data["b"], data["same"]) == (FCN32, FCN8, False)
    (phase,) = data["phases"]
    assert phase["layers"] == [42, 50]
    kinds = {c["kind"] for c in phase["changes"]}
    assert kinds == {"added", "renamed", "changed", "rewired", "tops"}
    added = phase["changes"][0]
    assert added["names"] == [None, "upscore2"] and added["new"]["settings"]["convolution_param.kernel_size"] == [4]
    rewired = next(c for c in phase["changes"] if c["kind"] == "rewired")
    assert rewired["new"] == [{"blob": "fuse_pool3", "layer": "fuse_pool3"}]


def test_both_phases(capsys: pytest.CaptureFixture[str]) -> None:
    train_val, deploy = (str(PROTOTXT / f"googlenet/{n}.prototxt") for n in ("train_val", "deploy"))
    _, text = out(capsys, train_val, deploy)
    assert "phase TRAIN: 159 → 143 layers" in text and "phase TEST, besides:" in text
    assert text.count("loss1/fc") > 0 and text.count("loss3/top-5") == 1
    _, text = out(capsys, train_val, deploy, "--phase", "TEST")
    assert "165 → 143 layers" in text and "besides" not in text


def test_a_difference_of_one_phase_is_not_lost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net = """layer {{ name: "d" type: "Input" top: "d" }}
        layer {{ name: "r" type: "ReLU" bottom: "d" top: "r" relu_param {{ negative_slope: {} }}
            include {{ phase: TEST }} }}"""
    for n in (1, 2):
        (tmp_path / f"{n}").write_text(net.format(n))
    status, text = out(capsys, str(tmp_path / "1"), str(tmp_path / "2"))
    assert status == 1 and "1 → 2" in text


def test_ignore_and_dataflow(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "net").write_text(
        Path(FCN8).read_text().replace("offset: 31", "offset: 30").replace('"fc7"', '"seven"')
    )
    assert out(capsys, FCN8, str(tmp_path / "net"), "--ignore", "offset", "--ignore", "renamed", "--dataflow")[0] == 0


def test_html_escapes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "net").write_text(Path(FCN8).read_text().replace('"fc7"', '"<script>"'))
    out(capsys, FCN8, str(tmp_path / "net"), "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert r"\u003cscript>" in page and "<script>" not in page and page.startswith("<!DOCTYPE html>")


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "net").write_text(Path(FCN8).read_text().replace('"fc7"', r'"fc\033[31m[bold]7"'))
    _, text = out(capsys, FCN8, str(tmp_path / "net"))
    assert "\x1b" not in text and "[bold]" in text


@pytest.mark.parametrize("arguments", [["nowhere.prototxt", FCN8], [FCN8, "nowhere.caffemodel"]])
def test_trouble(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *arguments]) == 2
    assert "nowhere" in capsys.readouterr().err


def model(seed: int, **change: np.ndarray) -> Model:
    random = np.random.RandomState(seed)
    layers = {name: [random.rand(4, 3).astype(np.float32), random.rand(4).astype(np.float32)] for name in ("a", "b")}
    for name, value in change.items():
        layers[name][0] = value
    return Model("n", [StoredLayer(name, "InnerProduct", blobs) for name, blobs in layers.items()])


def test_two_weight_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, other, third = (str(tmp_path / n) for n in ("one.caffemodel", "other.npz", "third.safetensors"))
    weights.write(one, model(0))
    weights.write(other, model(0))
    changed = model(0).layers[0].blobs[0].copy()  # type: ignore[union-attr]
    changed[1, 1] += 0.5
    weights.write(third, model(0, a=changed))
    assert out(capsys, one, other)[0] == 0
    status, text = out(capsys, one, third)
    assert status == 1 and "1 blob not the same, 3 the same bit for bit" in text
    _, text = out(capsys, one, third, "--json")
    first, *rest = json.loads(text)["blobs"]
    assert (first["layer"], first["blob"], first["identical"]) == ("a", "weight", False)
    assert first["max"] == pytest.approx(0.5) and first["mean"] == pytest.approx(0.5 / 12) and 0.9 < first["cosine"] < 1
    assert all(row["identical"] for row in rest)


def test_a_net_and_a_weight_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net, file = str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")
    Path(net).write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }'
        + "".join(
            f'layer {{ name: "{n}" type: "InnerProduct" bottom: "data" top: "{n}"'
            f" inner_product_param {{ num_output: {k} }} }}"
            for n, k in (("a", 4), ("b", 5), ("c", 2))
        )  # fmt: skip
    )
    weights.write(file, Model("n", [*model(0).layers, StoredLayer("z", "Scale", [np.ones(2, np.float32)])]))
    status, text = out(capsys, net, file, "--json")
    data = json.loads(text)
    assert status == 1
    assert (data["loaded"], data["missing"], data["unexpected"]) == (["a"], ["c"], ["z"])
    assert {(w["layer"], w["blob"]) for w in data["wrong_shape"]} == {("b", 0), ("b", 1)}
    status, text = out(capsys, net, file)
    assert "1 layers fit, 1 missing, 1 unexpected, 2 of another shape" in text
