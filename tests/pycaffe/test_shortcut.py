"""Whole passes in the TEST phase: what nobody asked for is made when somebody asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from texts import conv, layer, relu, source

import netspec.pycaffe as caffe
from netspec.pycaffe.layered import Layered

SKIP = source("data", 1, 3, 9, 8) + conv("conv1", "data", 4, "kernel_size: 3 pad: 30") + relu("conv1")
SKIP += layer("Pooling", "pool1", "conv1", "", "pooling_param { kernel_size: 2 stride: 2 }")
SKIP += conv("conv2", "pool1", 4) + relu("conv2") + layer("Eltwise", "sum", "pool1 conv2")
SKIP += layer("Crop", "score", "sum data", "", "crop_param { axis: 2 offset: 12 }")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The layered runs that were made."""
    runs: list[tuple[int, int]] = []
    layered = Layered.forward
    monkeypatch.setattr(Layered, "forward", lambda self, a, b: runs.append((a, b)) or layered(self, a, b))
    return runs


def filled(net: caffe.Net, seed: int = 0) -> np.ndarray:
    x = np.random.RandomState(seed).randn(*net.blobs["data"].shape).astype(np.float32)
    net.blobs["data"].data[...] = x
    return x


def layered(net: caffe.Net) -> dict[str, np.ndarray]:
    """All blobs, the net run layer by layer."""
    net.layered.forward(0, net.layered.end)
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


def test_outputs_come_without_a_layered_run(net, ran):
    n = net(SKIP)
    filled(n)
    score = n.forward()["score"].copy()
    assert not ran
    np.testing.assert_allclose(score, layered(n)["score"], rtol=1e-4, atol=1e-5)


def test_other_blobs_are_made_once_asked_for(net, ran):
    n = net(SKIP)
    filled(n)
    n.forward()
    first = n.blobs["conv1"].data.copy()
    assert len(ran) == 1 and n.blobs["pool1"].data.any() and len(ran) == 1
    filled(n, 1)
    n.forward()
    second = n.blobs["conv1"].data.copy()
    assert len(ran) == 1, "the blob that was asked for comes with the next pass"
    want = layered(n)
    np.testing.assert_allclose(second, want["conv1"], rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second)


def test_what_waits_is_made_from_the_inputs_as_they_were(net, ran):
    n, other = net(SKIP), net(SKIP)
    other.share_with(n)
    filled(other)
    want = layered(other)
    held = n.blobs["data"].data
    filled(n)
    n.forward()
    n.blobs["score"].data[...] = -1
    held[...] = 77
    np.testing.assert_allclose(n.blobs["conv2"].data, want["conv2"], rtol=1e-4, atol=1e-5)
    assert (n.blobs["score"].data == -1).all() and (n.blobs["data"].data == 77).all()


@pytest.mark.parametrize("what", ["params", "copy_from", "share_with"])
def test_what_waits_is_made_with_the_parameters_as_they_were(net, what, make):
    n, other = net(SKIP), net(SKIP)
    filled(n)
    want = layered(n)
    n = net(SKIP)
    n.share_with(other)
    filled(n), filled(other)
    want = layered(other)
    n.forward()
    if what == "params":
        n.params["conv1"][0].data[...] = 0
    elif what == "copy_from":
        third = net(SKIP)
        third.save("w.caffemodel")
        n.copy_from("w.caffemodel")
    else:
        n.share_with(net(SKIP))
    np.testing.assert_allclose(n.blobs["conv1"].data, want["conv1"], rtol=1e-4, atol=1e-5)


def test_parameters_written_between_passes_count(net):
    """Also those whose array is held, and where the plain net keeps what it made of parameters."""
    n = net(SKIP)
    filled(n)
    n.forward()
    n.forward()
    n.params["conv1"][1].data[...] += 1
    held = n.params["conv2"][1].data
    held += 1
    score = n.forward()["score"].copy()
    np.testing.assert_allclose(score, layered(n)["score"], rtol=1e-4, atol=1e-5)
    again = n.core
    with torch.no_grad():
        x = torch.from_numpy(n.blobs["data"].data.copy())
        first = again(data=x)["score"]
        n.params["conv1"][1].data[...] += 1
        n.layered.sync()
        assert not torch.allclose(first, again(data=x)["score"])


def test_backward_completes_the_pass(net, ran):
    n = net("force_backward: true " + SKIP)
    filled(n)
    n.forward()
    n.blobs["score"].diff[...] = 1
    gradient = n.backward()["data"].copy()
    assert gradient.any() and len(ran) == 1
    n.forward()
    assert len(ran) == 2, "a net that went backward runs layer by layer"
    n.blobs["score"].diff[...] = 1
    np.testing.assert_allclose(n.backward()["data"], gradient, rtol=1e-5)


def test_other_shapes(net, ran):
    n = net(SKIP)
    for h, w in ((9, 8), (20, 31), (9, 8)):
        n.blobs["data"].reshape(1, 3, h, w)
        filled(n)
        n.forward()
        assert n.blobs["score"].shape == (1, 4, h, w) and not ran
        assert n.blobs["conv1"].shape == (1, 4, h + 58, w + 58)
    n.blobs["data"].reshape(1, 3, 12, 12)
    n.reshape()
    assert n.blobs["conv1"].data.shape == (1, 4, 70, 70) and not ran


def test_held_arrays_follow(net, ran):
    n = net(SKIP)
    filled(n)
    n.forward()
    held = n.blobs["conv2"].data
    filled(n, 5)
    n.forward()
    assert len(ran) == 1
    np.testing.assert_allclose(held, layered(n)["conv2"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        source("data", 1, 3, 4, 4) + relu("data"),
        source("data", 1, 3, 4, 4) + layer("Dropout", "d", "data", "d", "phase: TRAIN"),
        source("data", 1, 3, 4, 4)
        + layer("BatchNorm", "b", "data", "b", "batch_norm_param { use_global_stats: false }"),
        layer("DummyData", "data", settings="dummy_data_param { shape { dim: 1 } }") + layer("ReLU", "r", "data"),
    ],
)
def test_nets_that_always_run_layer_by_layer(net, ran, text):
    n = net(text)
    n.forward()
    assert len(ran) == 1


def test_ranges_and_callbacks_run_layer_by_layer(net, ran):
    n = net(SKIP)
    n.forward(end="pool1")
    assert len(ran) == 1
    n = net(SKIP)
    n.after_forward(lambda number: None)
    n.forward()
    assert len(ran) == 2 and n._shortcut.off and caffe.TEST == 1


def test_a_split_that_ends_the_net(net, ran):
    n = net(
        source("data", 1, 2)
        + layer("Power", "p", "data", "", "power_param { scale: 2 }")
        + layer("Split", "s", "p", "a b")
    )
    n.forward(data=np.ones((1, 2)))
    assert (n.blobs["a"].data == 2).all() and (n.blobs["b"].data == 2).all() and not ran
