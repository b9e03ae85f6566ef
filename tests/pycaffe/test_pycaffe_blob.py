"""Blobs: arrays that share memory with the net."""

from __future__ import annotations

import numpy as np
import pytest
from texts import IMAGES, REGRESSION, conv, layer, relu, source

import netspec.pycaffe as caffe
from netspec.pycaffe.blob import Blob


def test_arrays_share_memory_with_the_net(net):
    n = net(IMAGES)
    data = n.blobs["data"].data
    assert np.shares_memory(data, n.blobs["data"].data)
    data[...] = 1
    first = n.forward()["score"].copy()
    data[...] = 2
    assert not np.allclose(first, n.forward()["score"])
    n.params["score"][0].data[...] = 0
    n.params["score"][1].data[...] = 7
    assert (n.forward()["score"] == 7).all()


def test_a_held_array_follows_the_net(net):
    n = net(IMAGES)
    n.blobs["data"].data[...] = 1
    held = {name: n.forward(blobs=["conv1", "pool1"])[name] for name in ("conv1", "pool1", "score")}
    part = held["conv1"][0, 1]
    before = {name: array.copy() for name, array in held.items()}
    n.blobs["data"].data[...] = -3
    n.forward()
    for name, array in held.items():
        assert not np.allclose(before[name], array)
        np.testing.assert_array_equal(array, n.blobs[name].data)
    np.testing.assert_array_equal(part, n.blobs["conv1"].data[0, 1])


def test_reading_a_blob_copies_nothing(net):
    n = net(IMAGES)
    n.forward()
    where = {name: blob.tensor().data_ptr() for name, blob in n.blobs.items()}
    for name, blob in n.blobs.items():
        assert blob.data.ctypes.data == where[name]


def test_layers_in_place_write_where_their_bottom_lies(net):
    n = net(IMAGES)
    n.forward()
    lies = n.blobs["conv1"].tensor().data_ptr()
    assert n.layered._passes[1].tops[0].data_ptr() == n.layered._passes[2].tops[0].data_ptr() == lies


def test_backward_reads_what_a_script_wrote_between(net):
    n = net("force_backward: true " + source("data", 1, 3) + layer("ReLU", "relu", "data"))
    n.blobs["data"].data[...] = 1
    n.forward()
    n.blobs["relu"].diff[...] = 5
    n.backward()
    assert (n.blobs["data"].diff == 5).all()
    n.blobs["relu"].data[...] = [[0, 1, 0]]
    n.backward()
    assert n.blobs["data"].diff.tolist() == [[0, 5, 0]]


def test_a_held_array_leaves_gradients_of_layers_in_place_right(net):
    text = "force_backward: true " + source("data", 2, 3) + layer("Scale", "scale", "data", "data")
    n = net(text)
    n.params["scale"][0].data[...] = 2
    held = n.blobs["data"].data
    held[...] = [[1, 2, 3], [4, 5, 6]]
    n.forward()
    assert held[0, 0] == 2
    n.blobs["data"].diff[...] = 1
    n.backward()
    assert n.params["scale"][0].diff.tolist() == [5, 7, 9]
    assert (n.blobs["data"].diff == 2).all()


CONSTANT = layer(
    "DummyData",
    "in",
    "",
    "x y",
    'dummy_data_param { shape { dim: 2 } data_filler { value: 3 } data_filler { type: "gaussian" } }',
)


def test_dummy_data_is_there_and_keeps_what_is_written(net):
    """As in Caffe a constant filler fills once; others fill in every pass."""
    n = net(CONSTANT + layer("Power", "z", "x", "", "power_param { scale: 2 }"))
    assert (n.blobs["x"].data == 3).all() and n.blobs["y"].data.any()
    first = n.blobs["y"].data.copy()
    n.blobs["x"].data[...] = [5, 6]
    for _ in range(2):
        assert n.forward()["z"].tolist() == [10, 12]
    assert n.blobs["x"].data.tolist() == [5, 6] and not np.array_equal(n.blobs["y"].data, first)
    n.blobs["x"].reshape(3)
    n.blobs["x"].data[...] = 1
    n.reshape()
    assert n.forward()["z"].tolist() == [2, 2, 2]


def test_shapes_and_the_legacy_names():
    blob = Blob((2, 3, 4, 5))
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 4, 5, 120)
    assert tuple(blob.shape) == blob.data.shape == blob.diff.shape == (2, 3, 4, 5)
    blob = Blob((7,))
    assert (blob.num, blob.channels, blob.height, blob.width) == (7, 1, 1, 1)
    with pytest.raises(ValueError, match="up to 4 axes"):
        _ = Blob((1, 1, 1, 1, 1)).num
    with pytest.raises(ValueError, match="cannot have the shape"):
        blob.reshape(2, -1)
    with pytest.raises(AttributeError):
        blob.data = np.zeros(7)


def test_reshape_keeps_as_many_values():
    blob = Blob((2, 3))
    blob.data[...] = np.arange(6).reshape(2, 3)
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3], [4, 5]]
    blob.reshape(4, 2)
    assert blob.data.shape == (4, 2)


def test_a_loss_blob_starts_with_its_weight_as_diff(net):
    n = net(REGRESSION.replace('bottom: "label"', 'bottom: "label" loss_weight: 3'), caffe.TRAIN)
    assert float(n.blobs["loss"].diff) == 3
    assert n.blob_loss_weights["loss"] == 3 and n._blob_loss_weights == [0, 0, 0, 0, 3]


def test_parameter_blobs_take_other_shapes(net):
    n = net(IMAGES)
    blob = n.params["score"][0]
    blob.reshape(1, 1, 2, 4)
    assert blob.data.shape == (1, 1, 2, 4)
    blob.data.flat = np.arange(8)
    assert n.core.steps[-1].params()[0].flatten().tolist() == list(range(8))


def test_diffs_add_up_until_cleared(net):
    n = net(REGRESSION, caffe.TRAIN)
    n.blobs["data"].data[...] = 1
    n.forward()
    n.backward()
    one = n.params["ip2"][0].diff.copy()
    n.backward()
    np.testing.assert_allclose(n.params["ip2"][0].diff, 2 * one)
    n.clear_param_diffs()
    assert not n.params["ip2"][0].diff.any()


def test_ten_sizes(net):
    n = net(IMAGES)
    for i in range(10):
        h, w = 6 + 3 * i, 20 - i
        n.blobs["data"].reshape(1, 3, h, w)
        if i % 2:
            n.reshape()
            assert n.blobs["score"].shape == (1, 2, -(-h // 2), -(-w // 2))
        assert n.forward()["score"].shape == (1, 2, -(-h // 2), -(-w // 2))


def test_views_of_a_value_are_not_overwritten(net):
    """A top that repeats its bottom lies in the same memory; a layer in place behind it leaves the bottom alone."""
    text = source("data", 1, 2, 2, 2) + conv("c", "data", 2, "kernel_size: 1")
    n = net(text + layer("Flatten", "flat", "c") + relu("flat"))
    n.blobs["data"].data[...] = np.random.randn(1, 2, 2, 2) * 5
    n.params["c"][1].data[...] = -1
    n.forward()
    held = n.blobs["flat"].data
    n.forward()
    assert (n.blobs["c"].data < 0).any() and (n.blobs["flat"].data >= 0).all() and held.shape == (1, 8)
