"""netspec show: numbers that are published, shapes assumed and given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netspec.cli import main

PROTOTXT = Path(__file__).parents[2] / "prototxt"


def shown(capsys: pytest.CaptureFixture[str], net: str, *arguments: str) -> Any:
    assert main(["show", str(PROTOTXT / f"{net}.prototxt"), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("net", "shape", "params", "macs"),
    [
        ("vgg16/deploy", "1x3x224x224", 138_357_544, 15_470_264_320),
        ("caffenet/deploy", "1x3x227x227", 60_965_224, 724_406_816),
        ("googlenet/deploy", "1x3x224x224", 6_998_552, 1_582_671_872),
        ("voc-fcn8s/deploy", "1x3x500x500", 134_489_759, 181_529_034_048),
    ],
)
def test_published_numbers(net: str, shape: str, params: int, macs: int, capsys: pytest.CaptureFixture[str]) -> None:
    data = shown(capsys, net, "--shape", f"data={shape}")
    assert (data["params"], data["macs"], data["batch"]) == (params, macs, 1)


def test_stride_and_receptive_field(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in shown(capsys, "voc-fcn8s/deploy")["layers"]}
    assert [(rows[n]["stride"], rows[n]["field"]) for n in ("conv1_1", "pool5", "fc7")] == [
        ([1.0] * 2, [3.0] * 2), ([32.0] * 2, [212.0] * 2), ([32.0] * 2, [404.0] * 2)]  # fmt: skip
    assert rows["score"]["stride"] == [1.0, 1.0]


def test_memory(capsys: pytest.CaptureFixture[str]) -> None:
    data = shown(capsys, "voc-fcn8s/deploy")
    rows = {row["name"]: row["memory"] for row in data["layers"]}
    assert rows["conv1_1"] == 4 * 64 * 698 * 698 and rows["relu1_1"] == 0
    assert data["memory"]["testing"] < data["memory"]["training"]
    assert data["memory"]["testing"] >= rows["conv1_1"] + rows["conv1_2"]


def test_assumed_shapes_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "voc-fcn8s/train")["assumed"] == {"data": [1, 3, 500, 500], "label": [1, 1, 500, 500]}
    assert shown(capsys, "siftflow-fcn8s/trainval")["assumed"]["geo"] == [1, 1, 256, 256]
    assert shown(capsys, "googlenet/train_val", "--phase", "TEST")["assumed"] == {}
    main(["show", str(PROTOTXT / "voc-fcn8s/train.prototxt")])
    assert "data assumed to be 1x3x500x500; --shape data=… says otherwise" in capsys.readouterr().out


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(PROTOTXT / "vgg16/deploy.prototxt"), "--shape", "data=1x3x224x224"]) == 0
    text = capsys.readouterr().out
    assert "138,357,544" in text and "15,470,264,320" in text and "\x1b" not in text
    row = next(line.split() for line in text.splitlines() if line.startswith("conv1_1"))
    assert row[:6] == ["conv1_1", "Convolution", "data", "→", "conv1_1", "1x64x224x224"]


@pytest.mark.parametrize(
    ("shape", "status", "words"),
    [
        ("date=1x3x8x8", 1, "no input 'date', did you mean 'data'?"),
        ("data=1xx8", 2, "not of the form"),
        ("data=1x3x8x8", 1, "error: layer"),
    ],
)
def test_misfits(shape: str, status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(PROTOTXT / "caffenet/deploy.prototxt"), "--shape", shape]) == status
    assert words in capsys.readouterr().err


def test_offsets_are_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(PROTOTXT / "voc-fcn8s/deploy.prototxt")]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["layer"][-3:] == ["stride", "field", "offset"]
    assert [rows[n][-3:] for n in ("conv1_1", "pool5", "fc7")] == [
        ["1", "3", "-99"], ["32", "212", "-83.5"], ["32", "404", "12.5"],
    ]  # fmt: skip


def test_what_is_said_of_shapes_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """A name of no input is that alone; where shapes were assumed, they may be why sharing does not work."""
    assert main(["show", str(PROTOTXT / "voc-fcn8s/train.prototxt"), "--shape", "dat=1x3x9x9"]) == 1
    assert capsys.readouterr().err == "error: the net has no input 'dat', did you mean 'data'?\n"
    assert main(["show", str(PROTOTXT / "siamese/train_test.prototxt")]) == 1
    assert "the input shapes were assumed (pair_data 64x3x500x500): give them" in capsys.readouterr().err
