"""Arrays where the net's values lie elsewhere: copied when asked for, taken back before they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from texts import IMAGES, REGRESSION

import netspec.pycaffe as caffe
from netspec.pycaffe import memory
from netspec.pycaffe.memory import Memory


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor counts as lying on the host, so that every array is a copy."""
    monkeypatch.setattr(memory, "on_host", lambda tensor: False)


def test_copies_are_made_when_asked_for(apart, monkeypatch):
    fetched = []
    fetch = Memory._fetch
    monkeypatch.setattr(Memory, "_fetch", lambda self, values: fetched.append(1) or fetch(self, values))
    cpu = torch.device("cpu")
    m = Memory(3)
    m.set(torch.tensor([1.0, 2, 3]))
    assert not fetched
    array = m.array()
    assert array.tolist() == [1, 2, 3] and len(fetched) == 1 and m.array() is array
    array[0] = 9
    assert m.tensor(cpu).tolist() == [9, 2, 3]
    m.set(torch.tensor([4.0, 5, 6]))
    assert array.tolist() == [9, 2, 3], "nothing is copied before somebody asks"
    assert m.array() is array and array.tolist() == [4, 5, 6]


def test_nets_read_and_write(apart, net):
    n = net(IMAGES)
    n.blobs["data"].data[...] = np.random.randn(1, 3, 12, 10)
    first = n.forward()["score"].copy()
    n.params["score"][0].data[...] = 0
    n.params["score"][1].data[...] = 7
    assert first.any() and (n.forward()["score"] == 7).all()
    n.params["score"][1].data[...] = 8
    n.save("w.caffemodel")
    n.params["score"][1].data[...] = 9
    n.copy_from("w.caffemodel")
    assert (n.forward()["score"] == 8).all() and (n.params["score"][1].data == 8).all()


def test_solvers_train_what_scripts_write(apart, make):
    make(REGRESSION)
    runs = []
    for looks in (False, True):
        solver = caffe.get_solver(
            make(
                'train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 test_interval: 100 random_seed: 1 '
                'test_initialization: false base_lr: 0.01 lr_policy: "fixed"',
                "solver",
            )
        )
        rng = np.random.RandomState(0)
        for _ in range(3):
            for name in ("data", "label"):
                solver.net.blobs[name].data[...] = rng.randn(*solver.net.blobs[name].shape)
            if looks:
                _ = [net.params["ip1"][0].data + net.params["ip1"][0].diff for net in (solver.net, *solver.test_nets)]
            solver.step(1)
            solver.test_nets[0].forward()
        runs.append(solver.net.params["ip1"][0].data.copy())
    np.testing.assert_array_equal(*runs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(net):
    n = net("force_backward: true " + IMAGES)
    x = np.random.randn(1, 3, 12, 10).astype(np.float32)
    rows = []
    for mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        n.clear_param_diffs()
        score = n.forward(data=x)["score"].copy()
        back = n.backward(score=np.ones_like(score))["data"].copy()
        rows.append((score, back, n.params["conv1"][0].diff.copy()))
    caffe.set_mode_cpu()
    for on_cpu, on_gpu in zip(*rows, strict=True):
        np.testing.assert_allclose(on_cpu, on_gpu, rtol=1e-3, atol=1e-4)
