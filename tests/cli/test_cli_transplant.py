"""netspec transplant: the surgery of the published recipes, on nets of their shape and fewer channels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec import weights
from netspec.cli import main
from netspec.solver.interpolation import kernel
from netspec.weights.model import Model

PROTOTXT = Path(__file__).parents[2] / "prototxt"
CHANNELS = {"64": 2, "128": 3, "256": 4, "512": 5, "4096": 6}
Blobs = dict[str, list[np.ndarray]]


def slim(name: str, tmp_path: Path) -> Path:
    """A published net with fewer channels; scores and kernels stay."""
    text = (PROTOTXT / name).read_text()
    path = tmp_path / f"{name.replace('/', '_')}"
    path.write_text(re.sub(r"num_output: (\d+)", lambda m: f"num_output: {CHANNELS.get(m[1], m[1])}", text))
    return path


def random_weights(net: Path, file: Path, seed: int) -> Blobs:
    """Random values for every layer of a net, written to a file."""
    from netspec.cli.transplant import any_phase
    from netspec.weights.fitting import fit

    rng = np.random.default_rng(seed)
    report, _ = fit(Model(), any_phase(str(net), "TEST"))
    assert report.missing
    from netspec.net import Net

    model = Net(any_phase(str(net), "TEST")).to_model()
    for layer in model.layers:
        layer.blobs = [rng.standard_normal(b.shape).astype(np.float32) for b in layer.blobs if b is not None]
    weights.write(file, model)
    return {s.name: [b for b in s.blobs if b is not None] for s in model.layers if s.blobs}


def run(tmp_path: Path, old: str, new: str, *options: str, seed: int = 1) -> tuple[Blobs, Blobs]:
    """Old and new blobs after one command."""
    first, second = slim(old, tmp_path), slim(new, tmp_path)
    before = random_weights(first, tmp_path / "old.caffemodel", seed)
    target = tmp_path / "new.caffemodel"
    assert main(["transplant", str(first), str(tmp_path / "old.caffemodel"), str(second), str(target), *options]) == 0
    after = weights.read(target).blobs()
    return before, {name: [b for b in blobs if b is not None] for name, blobs in after.items()}


def test_vgg16_to_fcn32s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = run(tmp_path, "vgg16/train_val.prototxt", "voc-fcn32s/train.prototxt", "--interp", "up*")
    out = capsys.readouterr().out
    np.testing.assert_array_equal(new["conv3_2"][0], old["conv3_2"][0])
    np.testing.assert_array_equal(new["fc6"][0], old["fc6"][0].reshape(new["fc6"][0].shape))
    assert new["fc6"][0].shape == (6, 5, 7, 7)
    assert "coerced: fc6 (6 x 245 -> 6 x 5 x 7 x 7)" in out and "dropped: fc8" in out and "left: score_fr" in out
    assert not new["score_fr"][0].any()
    np.testing.assert_array_equal(new["upscore"][0][3, 3], kernel(64))
    assert not new["upscore"][0][3, 4].any()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("voc-fcn32s/train.prototxt", "voc-fcn16s/train.prototxt"),
        ("voc-fcn16s/train.prototxt", "voc-fcn8s/train.prototxt"),
    ],
)
def test_finer_nets(old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = run(tmp_path, old, new, "--interp", "up*")
    for name in ("conv1_1", "fc7", "score_fr"):
        np.testing.assert_array_equal(after[name][0], before[name][0])
    out = capsys.readouterr().out
    assert "left: score_pool" in out
    [copied] = [line for line in out.splitlines() if line.startswith("copied: ")]
    assert "upscore" not in copied and "interpolated: upscore2" in out


def test_color_and_hha(tmp_path: Path) -> None:
    color, hha = (slim(f"nyud-fcn32s-{k}/trainval.prototxt", tmp_path) for k in ("color", "hha"))
    other = random_weights(hha, tmp_path / "hha.caffemodel", 2)
    more = ("--suffix", "color", "--also", str(hha), str(tmp_path / "hha.caffemodel"), "hha", "--interp", "up*")
    old, new = run(tmp_path, "nyud-fcn32s-color/trainval.prototxt", "nyud-fcn32s-color-hha/trainval.prototxt", *more)
    assert color.exists()
    np.testing.assert_array_equal(new["conv4_1color"][0], old["conv4_1"][0])
    np.testing.assert_array_equal(new["fc6hha"][0], other["fc6"][0])


def test_depth_as_a_fourth_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = run(
        tmp_path,
        "vgg16/train_val.prototxt",
        "nyud-fcn32s-color-d/trainval.prototxt",
        "--channel-mean",
        "conv1_1_bgrd=conv1_1",
    )
    np.testing.assert_array_equal(new["conv1_1_bgrd"][0][:, :3], old["conv1_1"][0])
    np.testing.assert_allclose(new["conv1_1_bgrd"][0][:, 3], old["conv1_1"][0].mean(1), rtol=1e-6)
    np.testing.assert_array_equal(new["conv1_1_bgrd"][1], old["conv1_1"][1])
    assert "averaged: conv1_1_bgrd (from conv1_1; 2 x 3 x 3 x 3 -> 2 x 4 x 3 x 3)" in capsys.readouterr().out


def net(*layers: str) -> str:
    return (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }\n'
        + "".join(layers)
    )


def ip(name: str, outputs: int, more: str = "") -> str:
    settings = f"inner_product_param {{ num_output: {outputs} {more} }}"
    return f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "{name}" {settings} }}\n'


def conv(name: str, outputs: int) -> str:
    settings = f"convolution_param {{ num_output: {outputs} kernel_size: 3 }}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "x" top: "{name}" {settings} }}\n'


def small(tmp_path: Path, old: str, new: str, *options: str) -> tuple[int, Blobs, Blobs]:
    (tmp_path / "old.prototxt").write_text(old)
    (tmp_path / "new.prototxt").write_text(new)
    before = random_weights(tmp_path / "old.prototxt", tmp_path / "old.npz", 0)
    names = [str(tmp_path / n) for n in ("old.prototxt", "old.npz", "new.prototxt", "new.npz")]
    status = main(["transplant", *names, *options])
    after = weights.read(tmp_path / "new.npz").blobs() if status == 0 else {}
    return status, before, {k: [b for b in v if b is not None] for k, v in after.items()}


def test_more_classes(tmp_path: Path) -> None:
    status, old, new = small(tmp_path, net(conv("score", 2)), net(conv("wide", 4)), "--expand", "wide=score")
    assert status == 0
    np.testing.assert_array_equal(new["wide"][0][:2], old["score"][0])
    np.testing.assert_array_equal(new["wide"][1][:2], old["score"][1])
    assert not new["wide"][0][2:].any()


@pytest.mark.parametrize("more", ["", "transpose: true"])
def test_the_same_values_come_out(tmp_path: Path, more: str) -> None:
    """A fully connected layer and the convolution made of it compute the same, transposed weights too."""
    import torch

    assert small(tmp_path, net(ip("fc", 4, more)), net(conv("fc", 4)))[0] == 0
    x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        old = netspec.load(tmp_path / "old.prototxt", tmp_path / "old.npz")(x=x)["fc"]
        new = netspec.load(tmp_path / "new.prototxt", tmp_path / "new.npz")(x=x)["fc"]
    torch.testing.assert_close(new.flatten(), old.flatten(), rtol=1e-5, atol=1e-5)


def test_misfits_come_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = net(conv("a", 3), conv("b", 5))
    assert small(tmp_path, net(conv("a", 2), conv("b", 2)), new)[0] == 1
    err = capsys.readouterr().err
    assert "2 layers do not fit: 'a' blob 0: 2 x 2 x 3 x 3 there, 3 x 2 x 3 x 3 here, 2 outputs there" in err
    assert not (tmp_path / "new.npz").exists()
    assert small(tmp_path, net(conv("a", 2), conv("b", 5)), new, "--leave", "a")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--expand", "bb=a"), "the new net has no layer 'bb' with weights"),
        (("--expand", "b=aa"), "the old net has no layer 'aa' with weights, did you mean 'a'?"),
        (("--interp", "up*"), "no Deconvolution layer is called 'up*'"),
        (("--channel-mean", "b=a"), "only input channels can be added"),
    ],
)
def test_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str) -> None:
    assert small(tmp_path, net(conv("a", 2)), net(conv("b", 5)), *options)[0] == 1
    assert message in capsys.readouterr().err


def test_wrong_form_is_wrong_usage(tmp_path: Path) -> None:
    assert small(tmp_path, net(conv("a", 2)), net(conv("b", 5)), "--expand", "b")[0] == 2
