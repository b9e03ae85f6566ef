"""AbsVal, BNLL, Clip, ELU, Exp, Log, Power, PReLU, Sigmoid, Swish, TanH, Threshold."""

from __future__ import annotations

import math

import pytest
import torch
from one_layer import check_gradients, layer, net, refused, text, top_shapes

from netspec.ir.coords import IDENTITY
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.spec.text import parse

SMALL = [(2, 3, 4)]
BAD = [
    ("Clip", "clip_param { max: 1 }", SMALL, "min is missing"),
    ("Clip", "clip_param { min: 1 }", SMALL, "max is missing"),
    ("Clip", "", SMALL, "min is missing"),
    ("Clip", "clip_param { min: 2 max: 1 }", SMALL, "min 2 is above max 1"),
    ("Exp", "exp_param { base: 0 }", SMALL, "base 0 must be positive, or -1 for e"),
    ("Exp", "exp_param { base: -2 }", SMALL, "base -2 must be positive"),
    ("Exp", "exp_param { base: nan }", SMALL, "base nan must be positive"),
    ("Exp", "exp_param { base: inf }", SMALL, "base inf must be positive"),
    ("Log", "log_param { base: 0 }", SMALL, "base 0 must be positive, or -1 for e"),
    ("Log", "log_param { base: 1 }", SMALL, "base 1 has no logarithm"),
    ("PReLU", "", [(3,)], "has 1 axes; 2 to 4 are allowed"),
    ("PReLU", "", [(1, 2, 1, 1, 1)], "has 5 axes; 2 to 4 are allowed"),
    ("TanH", "", SMALL * 2, "has 2 bottoms and takes 1"),
]
SMOOTH = [
    ("AbsVal", ""),
    ("BNLL", ""),
    ("Clip", "clip_param { min: -0.5 max: 0.7 }"),
    ("ELU", "elu_param { alpha: 0.3 }"),
    ("ELU", "elu_param { alpha: -0.3 }"),
    ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"),
    ("Log", "log_param { base: 3 scale: 0.1 shift: 9 }"),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }"),
    ("Power", "power_param { power: -1.5 scale: 0.1 shift: 9 }"),
    ("Power", "power_param { scale: 3 shift: -1 }"),
    ("PReLU", ""),
    ("PReLU", "prelu_param { channel_shared: true }"),
    ("Sigmoid", ""),
    ("Swish", ""),
    ("Swish", "swish_param { beta: 0.5 }"),
    ("TanH", ""),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


@pytest.mark.parametrize(("type", "settings"), SMOOTH)
def test_gradients(type, settings):
    check_gradients(type, settings, SMALL)


@pytest.mark.parametrize(("type", "settings"), [*SMOOTH, ("Threshold", "")])
def test_shape_and_place_stay(type, settings):
    one = layer(type, settings, SMALL)
    assert one.shapes(SMALL) == SMALL
    assert one.coord_map() == IDENTITY


@pytest.mark.parametrize(("type", "settings"), SMOOTH)
def test_the_bottom_stays_unless_it_may_be_overwritten(type, settings):
    x = torch.randn(SMALL[0])
    one = layer(type, settings, SMALL)
    params = [torch.randn(b.shape) for b in one.params(SMALL)]
    before = x.clone()
    top = one.forward([x], params)[0]
    assert torch.equal(x, before)
    one.overwrite = True
    torch.testing.assert_close(one.forward([x], params)[0], top, equal_nan=True)


IN_PLACE = [row for row in SMOOTH if row[0] != "Power"]


@pytest.mark.parametrize(("type", "settings"), IN_PLACE)
def test_in_place_gives_the_gradients_of_two_blobs(type, settings):
    """The layer stands behind a convolution, whose memory it may take, and below a ReLU in place."""
    conv = 'layer { name: "c" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 3 kernel_size: 1'
    conv += ' weight_filler { type: "gaussian" std: 1 } } }'
    start = f'layer {{ name: "i" type: "Input" top: "x" input_param {{ shape {{ dim: [2, 3, 4, 4] }} }} }} {conv}'
    grads = []
    for top in ("a", "b"):
        torch.manual_seed(1)
        one = f'layer {{ name: "one" type: "{type}" bottom: "a" top: "{top}" {settings} }}'
        last = f'layer {{ name: "r" type: "ReLU" bottom: "{top}" top: "{top}" }}'
        built = Net(lower(parse(start + one + last)))
        built(x=torch.randn(2, 3, 4, 4))[top].square().sum().backward()
        grads.append(built.get_parameter("c.weight").grad)
    torch.testing.assert_close(grads[0], grads[1], equal_nan=True)


@pytest.mark.parametrize(
    ("settings", "slope"),
    [
        ("scale: 3 shift: 1", lambda y: torch.full_like(y, 3)),
        ("power: 2 scale: 0.5 shift: 1.5", lambda y: 0.5 * y + 1.5),
        ("power: 3 scale: 2", lambda y: torch.full_like(y, 3)),
        ("power: 3 scale: 2 shift: 7", lambda y: 6 * y / (2 * y + 7)),
    ],
)
def test_power_in_place_gives_the_squared_slope_at_its_top(settings, slope):
    source = text("Power", f"power_param {{ {settings} }}", SMALL).replace('top: "t0"', 'top: "b0"')
    built = Net(lower(parse("force_backward: true " + source)))
    x = torch.randn(SMALL[0], requires_grad=True)
    y = built(b0=x)["b0"]
    (5 * y).sum().backward()
    torch.testing.assert_close(x.grad, slope(y.detach()).square())


def test_constant_powers():
    x = torch.randn(SMALL[0])
    for settings, value in (("power: 0", 1.0), ("scale: 0 shift: 3 power: 2", 9.0), ("scale: 0", 0.0)):
        top = layer("Power", f"power_param {{ {settings} }}", SMALL).forward([x.requires_grad_()], [])[0]
        assert torch.equal(top, torch.full(SMALL[0], value))
        assert not top.requires_grad


def test_edges():
    x = torch.tensor([[-1.0, 0.0, 1.0]], requires_grad=True)
    slopes = {
        ("AbsVal", ""): [-1, 0, 1],
        ("Clip", "clip_param { min: 0 max: 1 }"): [0, 1, 1],
        ("ELU", "elu_param { alpha: 0.5 }"): [0.5 * math.exp(-1), 0.5, 1],
        ("PReLU", "prelu_param { filler { value: 0.1 } }"): [0.1, 0.1, 1],
    }
    for (type, settings), want in slopes.items():
        built = net(type, settings, [(1, 3)])
        x.grad = None
        built(b0=x)["t0"].sum().backward()
        torch.testing.assert_close(x.grad, torch.tensor([want], dtype=torch.float32))


def test_large_values_stay_finite():
    x = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    for type in ("BNLL", "Sigmoid", "TanH", "Swish"):
        y = layer(type, "", [(1, 2)]).forward([x], [])[0]
        y.sum().backward()
        assert y.isfinite().all() and x.grad.isfinite().all()


def test_prelu_slopes():
    built = net("PReLU", "", [(2, 3, 4)])
    assert built.state_dict()["one.slope"].tolist() == [0.25] * 3
    assert built.steps[-1].layer.macs([(2, 3, 4)], [(2, 3, 4)]) == 24
    assert net("PReLU", "prelu_param { channel_shared: true }", [(2, 3)]).state_dict()["one.slope"].shape == ()
    assert top_shapes("PReLU", "", [(2, 3)]) == [(2, 3)]


def test_threshold():
    x = torch.tensor([0.5, 0.6, 0.7])
    one = layer("Threshold", "threshold_param { threshold: 0.6 }", [(3,)])
    assert one.forward([x], [])[0].tolist() == [0, 0, 1]
    assert not one.gradient_to(0)
