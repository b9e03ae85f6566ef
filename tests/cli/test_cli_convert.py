"""netspec convert: from real weights to every format, with proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import weights
from netspec.cli import main
from netspec.export import standalone
from netspec.weights import mean

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 2 kernel_size: 4 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "conv" top: "score" crop_param { offset: 0 } }
"""
OTHER = NET.replace("num_output: 4", "num_output: 5").replace('"up"', '"up2"')


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A net and its weights."""
    import netspec

    (tmp_path / "net.prototxt").write_text(NET)
    torch.manual_seed(0)
    weights.write(tmp_path / "small.caffemodel", netspec.load(tmp_path / "net.prototxt").to_model())
    return tmp_path


def test_source_runs_alone(small: Path) -> None:
    assert main(["convert", str(small / "small.caffemodel"), str(small / "my_net.py"), "-q"]) == 0
    done = subprocess.run([sys.executable, "my_net.py"], cwd=small, capture_output=True, text=True, timeout=120)
    assert done.stdout == "score (1, 2, 7, 6)\n", done.stderr
    text = (small / "my_net.py").read_text()
    assert "netspec" not in text and "crop(" in text


@pytest.mark.parametrize("end", [".caffemodel.h5", ".safetensors", ".pt", ".npz"])
def test_weights_there_and_back(small: Path, end: str) -> None:
    first, there, back = small / "small.caffemodel", small / f"there{end}", small / "back.caffemodel"
    assert main(["convert", str(first), str(there)]) == 0
    assert main(["convert", str(there), str(back), "--net", str(small / "net.prototxt")]) == 0
    a, b = weights.read(first).blobs(), weights.read(back).blobs()
    assert list(a) == list(b)
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_array_equal(x, y)
    stored = weights.read(back).net
    assert [s.type for s in stored.layer] == ["Input", "Convolution", "Pooling", "Deconvolution", "Crop"]


def test_misfits_are_told_at_once(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "other.prototxt").write_text(OTHER)
    command = [
        "convert",
        str(small / "small.caffemodel"),
        str(small / "new.npz"),
        "--net",
        str(small / "other.prototxt"),
    ]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "2 problems loading" in err and "4 outputs there, 5 here" in err
    assert "up2" in err and "missing" in err and "unexpected" in err
    assert not (small / "new.npz").exists()
    assert main([*command, "--partial"]) == 1
    assert "no layer of the net is in the file" in capsys.readouterr().err


def test_strict(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "other.prototxt").write_text(NET.replace('name: "up"', 'name: "up2"'))
    command = [
        "convert",
        str(small / "small.caffemodel"),
        str(small / "new.pt"),
        "--net",
        str(small / "other.prototxt"),
    ]
    assert main(command) == 0
    assert set(torch.load(small / "new.pt", weights_only=True)) == {"conv.weight", "conv.bias"}
    assert main([*command, "--strict"]) == 1
    assert "layer 'up2' is not in the file; layer 'up' is not in the net" in capsys.readouterr().err


def test_mean(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    mean.write(tmp_path / "mean.npy", values)
    assert main(["convert", str(tmp_path / "mean.npy"), str(tmp_path / "mean.binaryproto")]) == 0
    np.testing.assert_array_equal(mean.read(tmp_path / "mean.binaryproto"), values)


@pytest.mark.parametrize("end", [".onnx", ".py", ".pt2"])
def test_pictures(small: Path, end: str) -> None:
    """The file takes pixels; the transform folded in is part of what is verified."""
    if end == ".onnx":
        pytest.importorskip("onnxruntime")
    command = ["convert", str(small / "small.caffemodel"), str(small / f"net{end}"), "--preprocess", "rgb-uint8"]
    assert main([*command, "--mean", "10,20,30", "--scale", "0.5"]) == 0
    if end != ".py":
        return
    picture = np.random.default_rng(0).integers(0, 256, (1, 9, 8, 3), np.uint8)
    import netspec

    net = netspec.load(small / "net.prototxt", small / "small.caffemodel")
    data = (picture[..., ::-1].astype(np.float32) - [10, 20, 30]) * 0.5
    with torch.no_grad():
        want = net(data=torch.from_numpy(data.transpose(0, 3, 1, 2).astype(np.float32)))["score"].numpy()
    got = standalone.run(small / "net.py", [{"data": picture}])[0][""]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


def test_a_result_that_differs_is_not_kept(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from netspec.export.forms import forms

    broken = forms()["Crop"]
    monkeypatch.setattr(type(broken), "code", lambda self, site: forms()["Silence"].code(site))
    before = sorted(small.iterdir())
    assert main(["convert", str(small / "small.caffemodel"), str(small / "net.py")]) == 1
    assert "output 'score' has the shape" in capsys.readouterr().err
    assert sorted(small.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.caffemodel", "x.bla"], "unknown suffix '.bla'"),
        (["small.npz", "x.onnx"], "holds no net: give it, --net NET"),
        (["small.caffemodel", "missing/x.py"], "cannot write"),
        (["nothing.caffemodel", "x.npz"], "cannot read"),
    ],
)
def test_faults(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(small)
    main(["convert", "small.caffemodel", "small.npz"])
    assert main(["convert", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_that_is_not_there(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = small / "nowhere" / "x.safetensors"
    assert main(["convert", str(small / "small.caffemodel"), str(target)]) == 1
    assert capsys.readouterr().err == f"{target}: error: cannot write: No such file or directory\n"


def test_without_onnx(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["convert", str(small / "small.caffemodel"), str(small / "net.onnx")]) == 1
    assert "pip install 'netspec[onnx]'" in capsys.readouterr().err
