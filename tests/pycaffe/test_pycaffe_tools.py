"""NetSpec, io, Classifier, Detector, draw: what the golden files do not reach."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from texts import inner, layer, source

import netspec.pycaffe as caffe
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.pycaffe import layers as L
from netspec.pycaffe import params as P
from netspec.pycaffe.proto import caffe_pb2
from netspec.spec.text import parse

PROB = source("data", 2, 3, 6, 5) + inner("fc", "data", 4) + layer("Softmax", "prob", "fc")


def test_net_specs_are_messages_and_nets(net):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 8, 8]))
    n["a/b"] = L.Convolution(n.data, num_output=2, kernel_size=3, param=[dict(lr_mult=1), dict(lr_mult=2)])
    n.pool = L.Pooling(n["a/b"], pool=P.Pooling.AVE, global_pooling=True)
    proto = n.to_proto()
    assert isinstance(proto, caffe_pb2.NetParameter) and proto.layer[1].name == "a/b"
    again = caffe_pb2.NetParameter()
    text_format.Merge(str(proto), again)
    assert again == proto
    assert net(str(proto)).forward()["pool"].shape == (1, 2, 1, 1)
    assert "pool" in n and list(n.tops) == ["data", "a/b", "pool"]
    del n["pool"]
    for error in (AttributeError, KeyError):
        with pytest.raises(error, match="no top 'poo'"):
            _ = n.poo


def test_phases_and_several_tops():
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=[2])], ntop=2, include=dict(phase=caffe.TRAIN))
    n.loss = L.EuclideanLoss(n.data, n.label, loss_weight=2)
    n.quiet = L.Silence(n.loss, ntop=0)
    graph = lower(parse(str(n.to_proto())), "TRAIN")
    assert [s.name for s in graph.layers] == ["data", "loss", "quiet"] and not graph.layers[2].tops


def test_caffe_pb2_has_the_names_of_the_generated_module():
    assert caffe_pb2.TEST == 1 and caffe_pb2.Phase.Name(0) == "TRAIN" and caffe_pb2.PoolingParameter.AVE == 1
    assert "NetParameter" in dir(caffe_pb2) and caffe_pb2.DESCRIPTOR.package == "caffe"
    solver = caffe_pb2.SolverParameter(base_lr=0.01, type="SGD")
    assert caffe_pb2.SolverParameter.FromString(solver.SerializeToString()) == solver
    with pytest.raises(AttributeError, match="no 'NetParam'"):
        _ = caffe_pb2.NetParam


def test_crop_aligns_two_tops(net):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 33, 40]))
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3, pad=30)
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2)
    n.up = L.Deconvolution(n.pool, convolution_param=dict(num_output=2, kernel_size=4, stride=2))
    n.score = caffe.coord_map.crop(n.up, n.data)
    made = net(str(n.to_proto()))
    assert made.blobs["score"].shape == (1, 2, 33, 40)


def test_coordinate_maps_of_layers():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 33, 40]))
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3, pad=1, stride=2)
    n.up = L.Deconvolution(n.conv, convolution_param=dict(num_output=2, kernel_size=[4, 6], stride=2))
    conv, up = (caffe.coord_map.coord_map(top.fn) for top in (n.conv, n.up))
    assert conv == (1, 0.5, 0) and up[:2] == (1, 2) and up[2].tolist() == [1.5, 2.5]
    axis, scale, shift = caffe.coord_map.compose(up, conv)
    assert (axis, scale) == (1, 1) and shift.tolist() == [1.5, 2.5]
    assert caffe.coord_map.inverse(conv) == (1, 2, 0)
    assert caffe.coord_map.compose((None, 1, 0), (1, 2, 3)) == (1, 2, 3)
    with pytest.raises(caffe.coord_map.AxisMismatchException, match="do not match"):
        caffe.coord_map.compose((1, 2, 3), (2, 2, 3))
    with pytest.raises(caffe.coord_map.UndefinedMapException, match="Input"):
        caffe.coord_map.coord_map(n.data.fn)


def test_blobs_and_datums_as_messages():
    array = np.random.randn(2, 3, 4).astype(np.float32)
    blob = caffe.io.array_to_blobproto(array, -array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), -array)
    legacy = caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4, data=array.ravel())
    assert caffe.io.blobproto_to_array(legacy).shape == (1, 2, 3, 4)
    some = caffe.io.arraylist_to_blobprotovector_str([array, array[0]])
    back = caffe.io.blobprotovector_str_to_arraylist(some)
    np.testing.assert_array_equal(back[1], array[0])
    for values in (array, (array * 10 + 99).astype(np.uint8)):
        datum = caffe.io.array_to_datum(values, 7)
        np.testing.assert_array_equal(caffe.io.datum_to_array(datum), values)
        assert datum.label == 7 and bool(datum.data) == (values.dtype == np.uint8)
    with pytest.raises(ValueError, match="holds 3 values"):
        caffe.io.blobproto_to_array(caffe.io.caffe_pb2.BlobProto(data=[1, 2, 3]))
    with pytest.raises(ValueError, match="three axes"):
        caffe.io.array_to_datum(array[0])


def test_images(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (7, 5, 3)).astype(np.uint8)
    for mode, name in (("RGB", "c.png"), ("RGBA", "a.png"), ("L", "g.png")):
        Image.fromarray(pixels).convert(mode).save(tmp_path / name)
    for name in ("c.png", "a.png"):
        np.testing.assert_allclose(caffe.io.load_image(tmp_path / name), pixels / 255.0, atol=1e-6)
    grey = caffe.io.load_image(tmp_path / "g.png", color=False)
    assert grey.shape == (7, 5, 1) and grey.dtype == np.float32
    np.testing.assert_array_equal(caffe.io.load_image(tmp_path / "g.png")[:, :, 1], grey[:, :, 0])
    with pytest.raises(FileNotFoundError, match="none.png"):
        caffe.io.load_image(tmp_path / "none.png")


def test_what_transformers_refuse():
    t = caffe.io.Transformer({"data": (1, 3, 4, 4)})
    for call, message in (
        (lambda: t.preprocess("dat", np.zeros((4, 4, 3))), "not one of the net inputs"),
        (lambda: t.set_transpose("data", (0, 1)), "wants 3 axes"),
        (lambda: t.set_channel_swap("data", (1, 0)), "3 channels; the swap names 2"),
        (lambda: t.set_mean("data", np.zeros(2)), "the mean has 2"),
        (lambda: t.set_mean("data", np.zeros((2, 4, 4))), "the mean has 2"),
        (lambda: t.set_mean("data", np.zeros((4, 4))), "the mean has 1"),
        (lambda: t.set_mean("data", np.zeros((1, 3, 4, 4))), "one axis"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_mean_image_of_one_channel():
    t = caffe.io.Transformer({"data": (1, 1, 4, 4)})
    t.set_transpose("data", (2, 0, 1))
    t.set_mean("data", np.arange(16).reshape(4, 4))
    assert t.preprocess("data", np.ones((4, 4, 1)))[0].tolist() == (1 - np.arange(16.0).reshape(4, 4)).tolist()


@pytest.fixture
def files(make, tmp_path):
    file = make(PROB)
    caffe.Net(file, caffe.TEST).save(str(tmp_path / "w.caffemodel"))
    return file, str(tmp_path / "w.caffemodel")


def test_classifier(files):
    images = [np.random.rand(9, 9, 3).astype(np.float32) for _ in range(3)]
    model = caffe.Classifier(
        *files, image_dims=(8, 7), mean=np.array([0.1, 0.2, 0.3]), raw_scale=2, channel_swap=(2, 1, 0)
    )
    centre = model.predict(images, oversample=False)
    assert centre.shape == (3, 4) and np.allclose(centre.sum(1), 1)
    crop = caffe.io.resize_image(images[1], (8, 7))[1:7, 1:6]
    x = crop.transpose(2, 0, 1)[::-1] * 2 - np.array([0.1, 0.2, 0.3], np.float32)[:, None, None]
    want = model.forward_all(data=x[None])["prob"]
    np.testing.assert_allclose(centre[1], want[0], rtol=1e-4, atol=1e-6)
    ten = model.predict(images)
    assert ten.shape == (3, 4) and not np.allclose(ten, centre)


def test_detector(files, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "i.png")
    windows = [(2, 3, 12, 15), (0, 0, 20, 24), (15, 1, 19, 9)]
    for pad in (None, 1):
        model = caffe.Detector(*files, mean=np.array([0.1, 0.2, 0.3]), context_pad=pad)
        rows = model.detect_windows([(str(tmp_path / "i.png"), windows)])
        assert [row["window"] for row in rows] == windows and rows[0]["filename"].endswith("i.png")
        assert all(np.isclose(row["prediction"].sum(), 1) for row in rows)
    image = caffe.io.load_image(tmp_path / "i.png")
    crop = model.crop(image, (15, 18, 20, 24))
    assert crop.shape == (6, 5, 3)
    np.testing.assert_allclose(crop[-1, -1], [0.1, 0.2, 0.3], rtol=1e-6)
    with pytest.raises(SpecError, match="detect_windows"):
        model.detect_selective_search(["i.png"])


def test_drawing(tmp_path):
    net = caffe_pb2.NetParameter()
    pool = layer("Pooling", "p", "data", "", "pooling_param { kernel_size: 2 } include { phase: TRAIN }")
    text_format.Merge(PROB + pool, net)
    for ext, start in (("png", b"\x89PNG"), ("svg", b"<"), ("dot", b"digraph")):
        assert caffe.draw.draw_net(net, "TB", ext).startswith(start)
    caffe.draw.draw_net_to_file(net, str(tmp_path / "net.dot"), phase=caffe.TEST)
    dot = (tmp_path / "net.dot").read_text()
    assert "InnerProduct" in dot and "Pooling" not in dot and b"Pooling" in caffe.draw.draw_net(net, ext="dot")
    with pytest.raises(SpecError, match="none of the suffixes"):
        caffe.draw.draw_net(net, ext="gif")
