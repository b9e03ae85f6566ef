"""Solvers by hand: step, callbacks, loops of one's own, test nets."""

from __future__ import annotations

import numpy as np
import pytest
from texts import REGRESSION, layer, source

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


def test_the_nets_callbacks_are_called_in_steps(make):
    """At every layer, forward and backward; the weights become what they become without."""
    plain, watched = solver(make, "base_lr: 0.01 iter_size: 2"), solver(make, "base_lr: 0.01 iter_size: 2")
    for mine, theirs in zip(watched.net.params.values(), plain.net.params.values(), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            a.data[...] = b.data
    calls = []
    watched.net.before_forward(lambda number: calls.append(number))
    watched.net.after_backward(lambda number: calls.append(-number))
    for one in (plain, watched):
        one.step(2)
    layers = list(range(len(watched.net.layers)))
    assert calls == [*layers, *[-n for n in reversed(layers)]] * 4
    assert watched.net.blobs["ip2"].diff.any() and watched.core.smoothed_loss == pytest.approx(plain.core.smoothed_loss)
    np.testing.assert_allclose(watched.net.params["ip1"][0].data, plain.net.params["ip1"][0].data, rtol=1e-5)


def test_backward_after_a_step(make):
    """Goes by the blobs that the step left."""
    made = solver(make)
    made.step(1)
    made.net.backward()
    got = made.net.blobs["ip2"].diff.copy()
    want = (made.net.blobs["ip2"].data - made.net.blobs["label"].data) / 4
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_constant_dummy_data_feed_steps(make):
    """Nets of the time before Input layers are fed through DummyData."""
    dummy = "".join(
        layer("DummyData", name, settings=f"dummy_data_param {{ shape {{ dim: 4 dim: {n} }} }}")
        for name, n in (("data", 3), ("label", 2))
    )
    make(REGRESSION.replace(source("data", 4, 3) + source("label", 4, 2), dummy), "dummy.prototxt")
    made, fed = (
        solver(make),
        caffe.get_solver(make(PLAIN.replace("net.p", "dummy.p") + "base_lr: 0.01", "fed.prototxt")),
    )
    made.share_weights(fed.net)
    for name in ("data", "label"):
        fed.net.blobs[name].data[...] = made.net.blobs[name].data
        fed.test_nets[0].blobs[name].data[...] = made.net.blobs[name].data
    want = float(made.net.forward()["loss"])
    assert want > 0 and float(fed.test_nets[0].forward()["loss"]) == pytest.approx(want)
    for _ in range(2):
        fed.step(1)
        np.testing.assert_array_equal(fed.net.blobs["data"].data, made.net.blobs["data"].data)
        assert float(fed.net.blobs["loss"].data) == pytest.approx(want)
        want = float(fed.net.forward()["loss"])


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
