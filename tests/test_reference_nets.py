"""Caffe's reference nets and ResNet-50: the layers, shapes, parameters and settings are Caffe's, and all run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_data import golden, golden_json

from netspec import schema
from netspec.ir.diff import diff
from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.passes.bind import bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.insert_splits import insert_splits
from netspec.passes.loss_weights import loss_weights
from netspec.passes.parameters import parameters
from netspec.pipeline import load_graph
from netspec.spec import text
from netspec.timing import random_inputs

NETS = Path(__file__).parent.parent / "prototxt"
SHAPES = golden_json("nets/shapes.json")
CAFFES = [
    ("lenet/deploy", "examples/mnist/lenet.prototxt"),
    ("lenet/train_test", "examples/mnist/lenet_train_test.prototxt"),
    ("lenet/train_test", "examples/mnist/lenet_train_test.prototxt:TRAIN"),
    ("siamese/deploy", "examples/siamese/mnist_siamese.prototxt"),
    ("siamese/train_test", "examples/siamese/mnist_siamese_train_test.prototxt:TRAIN"),
    ("autoencoder/train_test", "examples/mnist/mnist_autoencoder.prototxt:TRAIN"),
    ("autoencoder/train_test", "examples/mnist/mnist_autoencoder.prototxt:TEST+test-on-test"),
    ("cifar10-quick/deploy", "examples/cifar10/cifar10_quick.prototxt"),
    ("cifar10-full/deploy", "examples/cifar10/cifar10_full.prototxt"),
    ("cifar10-full/train_test", "examples/cifar10/cifar10_full_train_test.prototxt"),
    ("cifar10-full/train_test", "examples/cifar10/cifar10_full_train_test.prototxt:TRAIN"),
    ("alexnet/deploy", "models/bvlc_alexnet/deploy.prototxt"),
    ("alexnet/train_val", "models/bvlc_alexnet/train_val.prototxt:TRAIN"),
    ("caffenet/deploy", "models/bvlc_reference_caffenet/deploy.prototxt"),
    ("caffenet/train_val", "models/bvlc_reference_caffenet/train_val.prototxt"),
    ("googlenet/deploy", "models/bvlc_googlenet/deploy.prototxt"),
    ("googlenet/train_val", "models/bvlc_googlenet/train_val.prototxt:TRAIN"),
    ("googlenet/train_val", "models/bvlc_googlenet/train_val.prototxt"),
    ("rcnn/deploy", "models/bvlc_reference_rcnn_ilsvrc13/deploy.prototxt"),
]


def graph_of(path: str, phase: str, stages: Any = ()) -> Graph:
    return load_graph(NETS / f"{path}.prototxt", phase, 0, stages or ())


@pytest.mark.parametrize(("path", "key"), [row for row in CAFFES if row[1] in SHAPES])
def test_layers_shapes_and_parameters_are_caffes(path: str, key: str) -> None:
    want = SHAPES[key]
    bound = bind(insert_splits(graph_of(path, want["phase"], want.get("stages"))))
    layers = bound.graph.layers
    rows = [[s.name, s.type, [b.name for b in s.bottoms], [t.name for t in s.tops]] for s in layers]
    assert [row[0] if row[1] == "Data" else row for row in rows] == [
        row[0] if is_data(row, want) else row for row in want["layers"]
    ]
    for size, blobs in want["sizes"].items():
        if "check_failed" in blobs:
            continue
        given = {t.name: tuple(blobs[t.name]) for s in layers if not s.bottoms for t in s.tops}
        shapes = infer_shapes(bound, given)
        assert {b.name: list(shape) for b, shape in shapes.items()} == blobs, size
    shapes = infer_shapes(bound, {t.name: tuple(want["sizes"]["file"][t.name]) for t in layers[0].tops})
    params: dict[str, list[list[int]]] = {}
    for p in parameters(bound, shapes):
        params.setdefault(layers[p.layer].name, []).append(list(p.blob.shape))
    assert params == want["params"]
    weights = {blob.name: weight.value for blob, weight in loss_weights(bound).items()}
    assert {name: w for name, w in weights.items() if w} == pytest.approx(want["loss_weights"])


def is_data(row: list[Any], want: dict[str, Any]) -> bool:
    return row[1] == "Input" and row[3][0] in want.get("data_layer_shapes", ())


@pytest.mark.parametrize(("path", "key"), [row for row in CAFFES if "prototxt" in SHAPES.get(row[1], ())])
def test_settings_are_caffes(path: str, key: str) -> None:
    """The texts computed with leave fillers out, and have an Input in place of a data layer."""
    want = text.read(golden("nets") / SHAPES[key]["prototxt"])
    phase, stages = SHAPES[key]["phase"], SHAPES[key].get("stages") or ()
    theirs = lower(plain(want.message), phase, 0, stages)
    mine = lower(plain(text.read(NETS / f"{path}.prototxt").message), phase, 0, stages)
    assert [change for change in diff(theirs, mine) if change.field != "include"] == []


def plain(message: Any) -> text.Document:
    """A net without fillers, and with data layers as Inputs without a shape."""
    for layer in message.layer:
        for settings in (layer.convolution_param, layer.inner_product_param):
            settings.ClearField("weight_filler")
            settings.ClearField("bias_filler")
        if not layer.bottom:
            bare = schema.new("LayerParameter", name="data", type="Input", top=layer.top, include=layer.include)
            layer.CopyFrom(bare)
    return text.parse(text.dump(message))


TRAINED = ["lenet/train_test", "siamese/train_test", "autoencoder/train_test", "cifar10-quick/train_test"]
TRAINED += ["cifar10-full/train_test"]
TRAINED += ["googlenet/train_val", "resnet50/train_val"]
LARGE = ["alexnet/train_val", "caffenet/train_val", "vgg16/train_val"]
INPUTS = {
    "lenet": {"data": (4, 1, 28, 28), "label": (4,)},
    "siamese": {"pair_data": (4, 2, 28, 28), "sim": (4,)},
    "autoencoder": {"data": (4, 1, 28, 28)},
    "cifar10": {"data": (4, 3, 32, 32), "label": (4,)},
    "alexnet": {"data": (2, 3, 227, 227), "label": (2,)},
    "caffenet": {"data": (2, 3, 227, 227), "label": (2,)},
    "": {"data": (2, 3, 224, 224), "label": (2,)},
}


@pytest.mark.parametrize("path", [*TRAINED, *(pytest.param(p, marks=pytest.mark.long) for p in LARGE)])
def test_forward_and_backward(path: str) -> None:
    shapes = INPUTS[next(name for name in INPUTS if path.startswith(name))]
    net = Net(data_to_input(graph_of(path, "TRAIN"), shapes).graph)
    loss, _ = net.loss(random_inputs(net))
    loss.backward()
    assert loss.value.isfinite() and loss.value > 0
    for name, p in net.named_parameters():
        assert not p.requires_grad or (p.grad is not None and p.grad.isfinite().all()), name
        assert not p.requires_grad or name.endswith("bias") or p.grad.any(), name


@pytest.mark.parametrize("path", ["rcnn/deploy", "vgg16/deploy", "resnet50/deploy", "googlenet/deploy"])
def test_deploy_nets_run(path: str) -> None:
    size = 227 if path.startswith("rcnn") else 224
    net = Net(graph_of(path, "TEST"), shapes={"data": (1, 3, size, size)})
    with torch.inference_mode():
        (top,) = net(**random_inputs(net)).values()
    assert top.isfinite().all() and top.shape[1] == (200 if path.startswith("rcnn") else 1000)


def test_resnet50_has_its_published_size() -> None:
    """25,557,032 learned values, by the paper's table, and a bias of 64 in the published conv1."""
    bound = bind(graph_of("resnet50/deploy", "TEST"))
    table = parameters(bound, infer_shapes(bound))
    learned = sum(torch.Size(p.blob.shape).numel() for p in table if p.blob.learn)
    assert learned == 25_557_032 + 64
    assert sum(spec.type == "Convolution" for spec, _ in bound) == 53
    weights = {bound.graph.layers[p.layer].name: p.blob.shape for p in table if p.index == 0}
    assert weights["res5c_branch2c"] == (2048, 512, 1, 1) and weights["res3a_branch1"] == (512, 256, 1, 1)
