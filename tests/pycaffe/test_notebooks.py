"""What the classic notebooks do: surgery, filters, solving by hand, LMDB and NetSpec, fine-tuning."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest
from google.protobuf import text_format
from texts import inner, layer, source

import netspec.pycaffe as caffe
from netspec.pycaffe import layers as L
from netspec.pycaffe import params as P

CAFFENET = Path(__file__).parents[2] / "prototxt/caffenet/deploy.prototxt"


def classifier(classes: int = 5) -> str:
    """CaffeNet's shape at a fraction of its width: convolution, pooling, two inner products."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 23, 23]))
    n.conv1 = L.Convolution(n.data, num_output=6, kernel_size=5, stride=2, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.fc6 = L.InnerProduct(n.pool1, num_output=16, weight_filler=dict(type="xavier"))
    n.relu6 = L.ReLU(n.fc6, in_place=True)
    n.fc8 = L.InnerProduct(n.relu6, num_output=classes, weight_filler=dict(type="xavier"))
    n.prob = L.Softmax(n.fc8)
    return str(n.to_proto())


def convolutional(side: int, classes: int = 5) -> str:
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, side, side]))
    n.conv1 = L.Convolution(n.data, num_output=6, kernel_size=5, stride=2)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n["fc6-conv"] = L.Convolution(n.pool1, num_output=16, kernel_size=5)
    n.relu6 = L.ReLU(n["fc6-conv"], in_place=True)
    n["fc8-conv"] = L.Convolution(n.relu6, num_output=classes, kernel_size=1)
    n.prob = L.Softmax(n["fc8-conv"])
    return str(n.to_proto())


def check_surgery(net: caffe.Net, full: caffe.Net, names: tuple[str, ...], stride: int) -> None:
    """Casts inner products into convolutions; the score map's cells are the classifier's answers to its windows."""
    for name in names:
        full.params[f"{name}-conv"][0].data.flat = net.params[name][0].data.flat
        full.params[f"{name}-conv"][1].data[...] = net.params[name][1].data
    size = net.blobs["data"].shape[2]
    image = np.random.randn(*full.blobs["data"].shape).astype(np.float32) * 50
    dense = full.forward_all(data=image)["prob"]
    assert dense.shape[2:] == (2, 2)
    for y in range(2):
        for x in range(2):
            window = image[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
            np.testing.assert_allclose(net.forward(data=window)["prob"][0], dense[0, :, y, x], rtol=1e-4, atol=1e-6)


def test_net_surgery_gives_a_dense_score_map(make):
    net = caffe.Net(make(classifier()), caffe.TEST)
    weights = make("", "w.caffemodel")
    net.save(weights)
    full = caffe.Net(make(convolutional(27), "full.prototxt"), weights, caffe.TEST)
    check_surgery(net, full, ("fc6", "fc8"), 4)


@pytest.mark.long
def test_net_surgery_on_caffenet(make):
    """Full size: one window gives the classifier's answer, 451 x 451 pixels a map of 8 x 8."""
    deploy = CAFFENET.read_text()
    net = caffe.Net(make(deploy.replace("dim: 10", "dim: 1")), caffe.TEST)
    for name, blobs in net.params.items():
        scale = np.sqrt(2 * blobs[0].num / blobs[0].count) if name != "fc8" else 0.01
        blobs[0].data[...] = np.random.RandomState(len(name)).randn(*blobs[0].shape) * scale
    full = caffe.Net(make(fully_convolutional(deploy), "full.prototxt"), caffe.TEST)
    for name in [k for k in net.params if k.startswith("conv")]:
        for mine, theirs in zip(full.params[name], net.params[name], strict=True):
            mine.data[...] = theirs.data
    for name in ("fc6", "fc7", "fc8"):
        full.params[f"{name}-conv"][0].data.flat = net.params[name][0].data.flat
        full.params[f"{name}-conv"][1].data[...] = net.params[name][1].data
    image = np.random.RandomState(1).randn(1, 3, 227, 227) * 50
    want = net.forward(data=image)["prob"]
    full.blobs["data"].reshape(1, 3, 227, 227)
    np.testing.assert_allclose(full.forward(data=image)["prob"][:, :, 0, 0], want, rtol=1e-3, atol=1e-6)
    full.blobs["data"].reshape(1, 3, 451, 451)
    assert full.forward()["prob"].shape == (1, 1000, 8, 8)


def fully_convolutional(deploy: str) -> str:
    """The deploy net with its inner products as convolutions."""
    net = caffe.proto.caffe_pb2.NetParameter()
    text_format.Merge(deploy, net)
    for one in net.layer:
        if one.type == "InnerProduct":
            outputs = one.inner_product_param.num_output
            one.ClearField("inner_product_param")
            one.name, one.type = f"{one.name}-conv", "Convolution"
            one.convolution_param.num_output = outputs
            one.convolution_param.kernel_size.append(6 if one.name == "fc6-conv" else 1)
    return str(net)


def test_filters_as_a_picture(make):
    """net.params as images: values to 0..1, tiles in a square."""
    net = caffe.Net(make(classifier()), caffe.TEST)
    filters = net.params["conv1"][0].data.transpose(0, 2, 3, 1)
    tiles = (filters - filters.min()) / (filters.max() - filters.min())
    side = int(np.ceil(np.sqrt(len(tiles))))
    tiles = np.pad(tiles, ((0, side**2 - len(tiles)), (0, 1), (0, 1), (0, 0)), constant_values=1)
    picture = tiles.reshape(side, side, *tiles.shape[1:]).transpose(0, 2, 1, 3, 4).reshape(side * 6, side * 6, 3)
    assert picture.shape == (18, 18, 3) and 0 <= picture.min() < picture.max() <= 1
    assert net.params["conv1"][0].data.min() < 0, "the net's own weights are as they were"


def digits(folder: Path, count: int) -> None:
    """An LMDB of Datums: 8 x 8 squares, bright on the left or on the right."""
    environment = lmdb.open(str(folder), map_size=1 << 22)
    rng = np.random.RandomState(0)
    with environment.begin(write=True) as transaction:
        for i in range(count):
            image = rng.randint(0, 100, (1, 8, 8)).astype(np.uint8)
            label = i % 2
            image[:, :, 4 * label : 4 * label + 4] += 120
            transaction.put(f"{i:08d}".encode(), caffe.io.array_to_datum(image, label).SerializeToString())
    environment.close()


def lenet(source: str, batch: int) -> str:
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch, backend=P.Data.LMDB, source=source, transform_param=dict(scale=1.0 / 255), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=3, num_output=4, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=10, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=2, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return str(n.to_proto())


def test_lenet_from_lmdb_solved_by_hand(make, tmp_path):
    """NetSpec, LMDB, a loop with accuracy on the test net and curves of both."""
    digits(tmp_path / "train_lmdb", 32)
    digits(tmp_path / "test_lmdb", 16)
    make(lenet("train_lmdb", 8), "train.prototxt")
    make(lenet("test_lmdb", 8), "test.prototxt")
    settings = (
        'test_iter: 2 test_interval: 1000 test_initialization: false base_lr: 0.05 lr_policy: "inv" gamma: 0.0001'
    )
    solver = caffe.SGDSolver(
        make(f'train_net: "train.prototxt" test_net: "test.prototxt" {settings} power: 0.75 momentum: 0.9', "solver")
    )
    assert {k: v.data.shape for k, v in solver.net.blobs.items() if k in ("data", "conv1", "score")} == {
        "data": (8, 1, 8, 8),
        "conv1": (8, 4, 6, 6),
        "score": (8, 2),
    }
    solver.net.forward()
    solver.test_nets[0].forward()
    assert solver.net.blobs["label"].data[:8].tolist() == [0, 1] * 4
    losses, accuracy = np.zeros(30), []
    for it in range(30):
        solver.step(1)
        losses[it] = solver.net.blobs["loss"].data
        solver.test_nets[0].forward(start="conv1")
        if it % 10 == 0:
            right = 0
            for _ in range(2):
                solver.test_nets[0].forward()
                right += sum(
                    solver.test_nets[0].blobs["score"].data.argmax(1) == solver.test_nets[0].blobs["label"].data
                )
            accuracy.append(right / 16)
    assert losses[-5:].mean() < 0.5 * losses[:5].mean() and accuracy[-1] == 1
    assert solver.net.params["conv1"][0].diff[:, 0].shape == (4, 3, 3)


def test_fine_tuning_by_renaming_a_layer(make):
    """Layers of the same name start from the old weights; the renamed one from its filler, and learns faster."""
    old = caffe.Net(make(classifier()), caffe.TEST)
    weights = make("", "old.caffemodel")
    old.save(weights)
    text = classifier(3).replace('name: "fc8"', 'name: "fc8_style" param { lr_mult: 10 } param { lr_mult: 20 }')
    text = text[: text.rindex("layer")] + source("label", 1) + layer("SoftmaxWithLoss", "loss", "fc8 label")
    make(text, "tune.prototxt")
    solver = caffe.get_solver(make('net: "tune.prototxt" base_lr: 0.01 lr_policy: "fixed"', "solver"))
    fresh = solver.net.params["fc8_style"][0].data.copy()
    solver.net.copy_from(weights)
    np.testing.assert_array_equal(solver.net.params["conv1"][0].data, old.params["conv1"][0].data)
    np.testing.assert_array_equal(solver.net.params["fc8_style"][0].data, fresh)
    solver.net.blobs["data"].data[...] = np.random.randn(1, 3, 23, 23)
    solver.step(5)
    assert not np.array_equal(solver.net.params["fc8_style"][0].data, fresh)


def test_gradient_ascent_on_the_input(make):
    """What a unit looks like: backward from a diff of one's own to the data."""
    net = caffe.Net(make("force_backward: true " + classifier()), caffe.TEST)
    image = np.random.RandomState(0).randn(1, 3, 23, 23).astype(np.float32)
    scores = []
    for _ in range(5):
        net.blobs["data"].data[...] = image
        net.forward(end="fc8")
        scores.append(float(net.blobs["fc8"].data[0, 2]))
        net.blobs["fc8"].diff[...] = 0
        net.blobs["fc8"].diff[0, 2] = 1
        net.backward(start="fc8")
        gradient = net.blobs["data"].diff
        image += 0.5 * gradient / np.abs(gradient).mean()
    assert scores == sorted(scores) and scores[-1] > scores[0]


def test_editing_parameters(make):
    """A filter bank written by hand: identity, Sobel; biases shift what comes out."""
    net = caffe.Net(
        make(
            source("data", 1, 1, 9, 9)
            + layer("Convolution", "conv", "data", "", "convolution_param { num_output: 3 kernel_size: 3 }")
        ),
        caffe.TEST,
    )
    net.blobs["data"].data[...] = np.arange(81).reshape(1, 1, 9, 9)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    net.params["conv"][0].data[0, 0, 1, 1] = 1
    net.params["conv"][0].data[1:3, 0] = sobel, sobel.T
    net.params["conv"][1].data[2] = 5
    out = net.forward()["conv"]
    np.testing.assert_allclose(out[0, 0], net.blobs["data"].data[0, 0, 1:-1, 1:-1])
    assert (out[0, 1] == 8).all() and (out[0, 2] == 77).all()


def test_logistic_regression_on_hdf5(make, tmp_path):
    """Rows of a table from HDF5, solved and scored."""
    import h5py

    rng = np.random.RandomState(0)
    x = rng.randn(40, 4).astype(np.float32)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["data"], file["label"] = x, (x @ [1, -2, 3, 0.5] > 0).astype(np.float32)
    make("train.h5\n", "train.txt")
    data = layer("HDF5Data", "in", "", "data label", 'hdf5_data_param { source: "train.txt" batch_size: 10 }')
    tail = inner("fc", "data", 2) + layer("SoftmaxWithLoss", "loss", "fc label") + layer("Accuracy", "acc", "fc label")
    make(data + tail)
    solver = caffe.get_solver(make('net: "net.prototxt" base_lr: 0.5 momentum: 0.9 lr_policy: "fixed"', "solver"))
    solver.step(60)
    right = []
    for _ in range(4):
        right.append(float(solver.net.forward()["acc"]))
    assert np.mean(right) > 0.9
