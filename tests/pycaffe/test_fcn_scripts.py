"""The scripts of an FCN user, run as they are on a few pictures of the sample."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES
from PIL import Image
from texts import conv, layer, relu

from netspec.data.sample import Sample

SETTINGS = "{'voc_dir': 'voc', 'split': '%s', 'mean': (104, 117, 123), 'seed': 1}"
CLASSES = 21


def data(split: str) -> str:
    param = f'python_param {{ module: "segmentation_layers" layer: "VOCSegments" param_str: "{SETTINGS % split}" }}'
    return layer("Python", "data", "", "data label", param)


def up(name: str, bottom: str, kernel: int, stride: int) -> str:
    settings = f"num_output: {CLASSES} bias_term: false kernel_size: {kernel} stride: {stride}"
    return layer("Deconvolution", name, bottom, "", f"convolution_param {{ {settings} }} param {{ lr_mult: 0 }}")


def pool(name: str, bottom: str) -> str:
    return layer("Pooling", name, bottom, "", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")


def fcn(source: str, loss: bool = True) -> str:
    """Two poolings, a skip, crops: a small FCN of the published form, scores per pixel at stride 2."""
    body = conv("conv1", "data", 6, "kernel_size: 3 pad: 20") + relu("conv1") + pool("pool1", "conv1")
    body += conv("conv2", "pool1", 8) + relu("conv2") + pool("pool2", "conv2")
    body += conv("fc6", "pool2", 16, "kernel_size: 3") + relu("fc6")
    body += conv("score_fr", "fc6", CLASSES, "kernel_size: 1") + up("upscore2", "score_fr", 4, 2)
    body += conv("score_pool1", "pool1", CLASSES, "kernel_size: 1")
    body += layer("Crop", "score_pool1c", "score_pool1 upscore2", "", "crop_param { axis: 2 offset: 1 }")
    body += layer("Eltwise", "fuse", "upscore2 score_pool1c") + up("upscore", "fuse", 4, 2)
    body += layer("Crop", "score", "upscore data", "", "crop_param { axis: 2 offset: 18 }")
    settings = "loss_weight: 1e-4 loss_param { ignore_label: 255 normalize: false }"
    return source + body + (layer("SoftmaxWithLoss", "loss", "score label", "", settings) if loss else "")


def deploy() -> str:
    return fcn(layer("Input", "data", settings="input_param { shape { dim: 1 dim: 3 dim: 40 dim: 40 } }"), loss=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOC's folders with four pictures to train and two to test; the nets and the solver."""
    monkeypatch.chdir(tmp_path)
    for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (tmp_path / "voc" / part).mkdir(parents=True)
    sample = Sample()
    for split, count in (("train", 4), ("val", 2)):
        for i, name in enumerate(sample.ids(split)[:count]):
            image, label = sample.image(split, i)
            Image.fromarray(image).save(tmp_path / "voc/JPEGImages" / f"{name}.jpg", quality=95)
            Image.fromarray(label).save(tmp_path / "voc/SegmentationClass" / f"{name}.png")
        (tmp_path / "voc/ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(sample.ids(split)[:count]))
    (tmp_path / "train.prototxt").write_text(fcn(data("train")))
    (tmp_path / "val.prototxt").write_text(fcn(data("val")))
    (tmp_path / "deploy.prototxt").write_text(deploy())
    (tmp_path / "solver.prototxt").write_text(
        'train_net: "train.prototxt" test_net: "val.prototxt" test_iter: 2 test_interval: 999999999 random_seed: 1\n'
        'base_lr: 1e-6 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 test_initialization: false\n'
    )
    return tmp_path


def run(script: str, *arguments: str) -> None:
    """The script, as Python runs it."""
    sys.argv = [script, *arguments]
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_training_scoring_and_inference(folder: Path, served: None, capsys: pytest.CaptureFixture[str]) -> None:
    run("train_fcn.py", "solver.prototxt", "--rounds", "2", "--steps", "8", "--images", "2", "--save", "w.caffemodel")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["iteration 8", "iteration 16"]
    assert all(word in lines[0] for word in ("pixel accuracy", "mean accuracy", "mean IU", "f.w. IU"))
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses[1] < losses[0]

    picture = next((folder / "voc/JPEGImages").glob("val*"))
    run("segment_image.py", "deploy.prototxt", "w.caffemodel", str(picture), "labels.png")
    with Image.open(picture) as image, Image.open("labels.png") as labels:
        assert labels.size == image.size and labels.mode == "L"
    assert "classes: [" in capsys.readouterr().out


def test_surgery_between_two_nets(folder: Path, served: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A classifier's inner products become convolutions; up* layers interpolate."""
    import caffe

    head = layer("Input", "data", settings="input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } }")
    head += (
        conv("conv1", "data", 6) + relu("conv1") + pool("pool1", "conv1") + conv("conv2", "pool1", 8) + relu("conv2")
    )
    head += pool("pool2", "conv2")
    fc6 = 'inner_product_param { num_output: 16 weight_filler { type: "gaussian" std: 1 } }'
    (folder / "old.prototxt").write_text(head + layer("InnerProduct", "fc6", "pool2", "", fc6))
    old = caffe.Net("old.prototxt", caffe.TEST)
    old.save("old.caffemodel")

    run("make_fcn_weights.py", "old.prototxt", "old.caffemodel", "deploy.prototxt", "new.caffemodel")
    assert "from the old net: conv1 conv2 fc6" in capsys.readouterr().out
    new = caffe.Net("deploy.prototxt", "new.caffemodel", caffe.TEST)
    np.testing.assert_array_equal(new.params["fc6"][0].data.ravel(), old.params["fc6"][0].data.ravel())
    kernel = new.params["upscore2"][0].data
    assert kernel.shape == (CLASSES, CLASSES, 4, 4) and not kernel[0, 1].any()
    np.testing.assert_allclose(kernel[3, 3, 0], np.array([0.25, 0.75, 0.75, 0.25]) * 0.25)


def test_suffixes_and_more_classes(folder: Path, served: None) -> None:
    import caffe
    import surgery

    old = caffe.Net("deploy.prototxt", caffe.TEST)
    text = deploy().replace('name: "conv1"', 'name: "conv1color"').replace("num_output: 21", "num_output: 30")
    (folder / "new.prototxt").write_text(text)
    new = caffe.Net("new.prototxt", caffe.TEST)
    left = surgery.transplant(new, old, "color")
    assert "conv1color" not in left and "conv2" in left
    np.testing.assert_array_equal(new.params["conv1color"][0].data, old.params["conv1"][0].data)
    before = new.params["score_fr"][0].data[21:].copy()
    surgery.expand_score(new, "score_fr", old, "score_fr")
    np.testing.assert_array_equal(new.params["score_fr"][0].data[:21], old.params["score_fr"][0].data)
    np.testing.assert_array_equal(new.params["score_fr"][0].data[21:], before)


def test_a_loss_in_numpy_has_the_gradient_of_the_built_in_one(folder: Path, served: None) -> None:
    import caffe

    grads = []
    own = 'loss_weight: 1 python_param { module: "segmentation_layers" layer: "PixelLoss" }'
    for one in (layer("Python", "loss", "c b", "loss", own), layer("EuclideanLoss", "loss", "c b")):
        inputs = "".join(
            layer("Input", n, settings="input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } }") for n in "ab"
        )
        (folder / "loss.prototxt").write_text(inputs + conv("c", "a", 3, "kernel_size: 1") + one)
        caffe.set_random_seed(3)
        net = caffe.Net("loss.prototxt", caffe.TRAIN)
        for name in "ab":
            net.blobs[name].data[...] = np.random.RandomState(ord(name)).randn(2, 3, 4, 4)
        net.forward()
        net.backward()
        grads.append(net.params["c"][0].diff.copy())
    np.testing.assert_allclose(*grads, rtol=1e-5)
