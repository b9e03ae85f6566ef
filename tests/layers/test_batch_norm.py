"""BatchNorm, MVN and LRN: refused settings, gradients, moving averages."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, net, refused
from torch.nn.functional import local_response_norm

BAD = [
    ("BatchNorm", "", [()], "a bottom without axes has no batch"),
    ("MVN", "", [(1, 2, 3, 4, 5)], "bottom [1, 2, 3, 4, 5] has more than four axes"),
    ("LRN", "lrn_param { local_size: 4 }", [(1, 2, 3, 4)], "local_size 4 must be odd"),
    ("LRN", "lrn_param { local_size: 0 }", [(1, 2, 3, 4)], "local_size 0 must be odd"),
    ("LRN", "", [(1, 2, 3)], "bottom [1, 2, 3] must have four axes"),
    ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }", [(1, 2)], "bottom [1, 2] must have four axes"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_lrn(size):
    shape = (2, 4, 2, 3)
    settings = f"local_size: {size} alpha: 0.7 beta: 0.6 k: 1.5"
    check_gradients("LRN", f"lrn_param {{ {settings} }}", [shape])
    check_gradients("LRN", f"lrn_param {{ {settings} norm_region: WITHIN_CHANNEL }}", [shape])
    x = torch.randn(shape)
    one = layer("LRN", f"lrn_param {{ {settings} }}", [shape])
    want = local_response_norm(x, size, 0.7, 0.6, 1.5)
    assert torch.allclose(one.forward([x], [])[0], want, atol=1e-6)
    assert torch.allclose(one.forward([x.requires_grad_()], [])[0], want, atol=1e-6)


@pytest.mark.parametrize("settings", ["", "across_channels: true", "normalize_variance: false"])
def test_mvn_gradients(settings):
    check_gradients("MVN", f"mvn_param {{ {settings} }}", [(2, 3, 4)])


@pytest.mark.parametrize("shape", [(6,), (5, 3), (2, 3, 2, 2)])
def test_batch_norm_gradients(shape):
    check_gradients("BatchNorm", "", [shape], phase="TRAIN")


def test_batch_norm_gradient_with_stored_statistics():
    one = layer("BatchNorm", "", [(2, 3, 2, 2)])
    stored = [torch.randn(3).double(), torch.rand(3).double() + 1, torch.tensor([2.0]).double()]
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: one.forward([v], stored)[0], [x])


def test_batch_norm_remembers_sums():
    one = net("BatchNorm", "batch_norm_param { moving_average_fraction: 0.5 }", [(8, 3, 4, 4)], phase="TRAIN")
    x, y = torch.randn(8, 3, 4, 4), torch.randn(8, 3, 4, 4) * 3 + 1
    one(b0=x), one(b0=y)
    state = one.state_dict()
    over = (0, 2, 3)
    assert torch.allclose(state["one.mean"], x.mean(over) / 2 + y.mean(over), atol=1e-6)
    assert torch.allclose(state["one.variance"], x.var(over) / 2 + y.var(over), atol=1e-4)
    assert state["one.weight"].tolist() == [1.5]


def test_batch_norm_in_the_test_phase_uses_what_was_stored():
    one = net("BatchNorm", "batch_norm_param { eps: 0 }", [(2, 1, 2, 2)])
    with torch.no_grad():
        for value, blob in zip((6.0, 8.0, 2.0), one.parameters(), strict=True):
            blob.fill_(value)
    x = torch.randn(2, 1, 2, 2)
    assert torch.allclose(one(b0=x)["t0"], (x - 3) / 2)
    assert [p.requires_grad for p in one.parameters()] == [False] * 3


@pytest.mark.parametrize("fork", ["scale_bias: true scale_filler { value: 3 }", "filler { value: 3 }"])
def test_own_factor_and_bias_of_forks(fork):
    x = torch.randn(3, 2, 4, 5)
    built = net("BatchNorm", f"batch_norm_param {{ {fork} bias_filler {{ value: 2 }} }}", [x.shape], phase="TRAIN")
    plain = net("BatchNorm", "", [x.shape], phase="TRAIN")
    assert [name for name, _ in built.named_parameters()] == [f"one.{n}" for n in NAMES]
    assert torch.allclose(built(b0=x)["t0"], 3 * plain(b0=x)["t0"] + 2)
    assert torch.equal(built.get_parameter("one.mean"), plain.get_parameter("one.mean"))
    check_gradients("BatchNorm", f"batch_norm_param {{ {fork} }}", [(4, 2, 3)], phase="TRAIN")


NAMES = ("mean", "variance", "weight", "scale", "bias")


def test_forks_without_their_own_factor():
    for text in ("scale_bias: false", "use_weight_bias: false filler { value: 3 }", "engine: MKL2017"):
        built = net("BatchNorm", f"batch_norm_param {{ {text} }}", [(2, 3)])
        assert [name for name, _ in built.named_parameters()] == [f"one.{n}" for n in NAMES[:3]]
