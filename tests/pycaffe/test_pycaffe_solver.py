"""Solvers by hand: step, callbacks, loops of one's own, test nets."""

from __future__ import annotations

import numpy as np
import pytest
from texts import REGRESSION

import netspec.pycaffe as caffe
from netspec.errors import SpecError

TYPES = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
PLAIN = """
train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 2 test_interval: 1000 test_initialization: false
lr_policy: "fixed" random_seed: 1
"""


def solver(make, settings: str = "base_lr: 0.01 momentum: 0.9", cls=caffe.get_solver) -> caffe.pycaffe.SGDSolver:
    make(REGRESSION)
    made = cls(make(PLAIN + settings, "solver.prototxt"))
    rng = np.random.RandomState(0)
    for net in (made.net, *made.test_nets):
        net.blobs["data"].data[...] = rng.randn(4, 3)
        net.blobs["label"].data[...] = rng.randn(4, 2)
    return made


@pytest.mark.parametrize("name", TYPES)
def test_every_type(make, name):
    settings = f'base_lr: 0.01 type: "{name}"' + ("" if name in ("AdaGrad", "RMSProp") else " momentum: 0.9")
    cls = getattr(caffe, f"{name}Solver")
    made = solver(make, settings, cls)
    losses = []
    for _ in range(10):
        made.step(1)
        losses.append(float(made.net.blobs["loss"].data))
    assert losses[-1] < losses[0] and made.iter == 10
    assert type(caffe.get_solver("solver.prototxt")) is cls
    other = caffe.AdamSolver if name != "Adam" else caffe.SGDSolver
    with pytest.raises(SpecError, match="use get_solver"):
        other("solver.prototxt")


def test_a_loop_of_ones_own_is_a_step(make):
    one, other = solver(make), solver(make)
    for _ in range(3):
        one.step(1)
        other.net.clear_param_diffs()
        other.net.forward()
        other.net.backward()
        other.apply_update()
    for name in one.net.params:
        for mine, theirs in zip(one.net.params[name], other.net.params[name], strict=True):
            np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-5, atol=1e-7)
    assert other.iter == 0 and other.lr == pytest.approx(0.01)


def test_callbacks_may_change_gradients(make):
    made = solver(make)
    before = made.net.params["ip2"][0].data.copy()
    calls = []

    def ready() -> None:
        calls.append(("ready", bool(made.net.params["ip2"][0].diff.any())))
        for blobs in made.net.params.values():
            for blob in blobs:
                blob.diff[...] = 0

    made.add_callback(lambda: calls.append("start"), ready)
    made.step(2)
    assert calls == ["start", ("ready", True)] * 2
    np.testing.assert_array_equal(made.net.params["ip2"][0].data, before)


def test_blobs_show_the_last_pass(make):
    made = solver(make)
    held = made.net.blobs["ip1"].data
    made.step(1)
    np.testing.assert_array_equal(held, made.net.blobs["ip1"].data)
    want = np.maximum(0, made.net.blobs["ip1"].data)
    np.testing.assert_array_equal(held, want)
    assert made.net.blobs["loss"].data > 0


def test_writing_weights_between_steps(make):
    made = solver(make)
    made.step(1)
    made.net.params["ip1"][0].data[...] = 0
    made.net.params["ip1"][1].data[...] = -1
    made.step(1)
    assert not made.net.blobs["ip1"].data.any()


def test_test_nets_share_the_weights(make):
    made = solver(make)
    made.step(3)
    net = made.test_nets[0]
    net.share_with(made.net)
    np.testing.assert_array_equal(net.params["ip1"][0].data, made.net.params["ip1"][0].data)
    assert net.forward()["loss"] > 0
    assert len(made.test_all()) == 1


def test_solve_snapshot_restore(make):
    made = solver(make, 'base_lr: 0.01 momentum: 0.9 max_iter: 4 snapshot: 2 snapshot_prefix: "s"')
    made.solve()
    assert made.iter == 4 and made.param.max_iter == 4
    again = solver(make, 'base_lr: 0.01 momentum: 0.9 max_iter: 4 snapshot_prefix: "t"')
    again.solve("s_iter_2.solverstate")
    np.testing.assert_allclose(again.net.params["ip1"][0].data, made.net.params["ip1"][0].data, rtol=1e-6)
