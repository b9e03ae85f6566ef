"""Scale and Bias: refused settings, axes, gradients, writing in place."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, net, refused

ANY = [(2, 3, 4, 5)]
CASES = [
    ("num_axes: -2", ANY, "num_axes -2 must be at least 0, or -1"),
    ("axis: 4", ANY, "axis 4 is outside a bottom of 4 axes"),
    ("axis: 2 num_axes: 3", ANY, "3 axes from axis 2 go past bottom 0 [2, 3, 4, 5]"),
    ("axis: 3", [*ANY, (5, 1)], "2 axes from axis 3 go past bottom 0 [2, 3, 4, 5]"),
    ("", [*ANY, (4,)], "bottom 1 [4] does not match bottom 0 [2, 3, 4, 5] from axis 1"),
]
BAD = [(type, *case) for type in ("Scale", "Bias") for case in CASES]
GOOD = ["", "axis: 0 num_axes: 2", "num_axes: -1", "num_axes: 0", "axis: -1"]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, f"{type.lower()}_param {{ {settings} }}", shapes, 1, message)


@pytest.mark.parametrize("settings", GOOD)
def test_gradients(settings):
    check_gradients("Scale", f"scale_param {{ {settings} }}", [(2, 3, 2)])
    check_gradients("Scale", f"scale_param {{ {settings} bias_term: true }}", [(2, 3, 2)])
    check_gradients("Bias", f"bias_param {{ {settings} }}", [(2, 3, 2)])


@pytest.mark.parametrize("shape", [(3,), (3, 2), ()])
def test_gradients_to_a_second_bottom(shape):
    check_gradients("Scale", "scale_param { bias_term: true }", [(2, 3, 2), shape])
    check_gradients("Bias", "", [(2, 3, 2), shape])


def test_blobs_and_their_first_values():
    blobs = dict(net("Scale", "scale_param { bias_term: true }", ANY).named_parameters())
    assert {name: value.tolist() for name, value in blobs.items()} == {"one.weight": [1.0] * 3, "one.bias": [0.0] * 3}
    assert [b.name for b in layer("Scale", "scale_param { bias_term: true }", [*ANY, (3,)]).params([*ANY, (3,)])] == [
        "bias"
    ]


@pytest.mark.parametrize("learned", [True, False])
def test_in_place_takes_the_memory_when_the_gradient_permits(learned):
    one = layer("Scale", "scale_param { bias_term: true }", ANY)
    one.overwrite = True
    seed = torch.randn(*ANY, requires_grad=True)
    factor, bias = torch.randn(3, requires_grad=learned), torch.randn(3, requires_grad=learned)
    x = seed * 1
    before = x.detach().clone()
    top = one.forward([x], [factor, bias])[0]
    top.sum().backward()
    assert (top.data_ptr() == x.data_ptr()) is not learned
    assert torch.allclose(top, before * factor[:, None, None] + bias[:, None, None], atol=1e-6)
    assert torch.allclose(seed.grad, factor.detach()[:, None, None].expand_as(seed))


@pytest.mark.parametrize(
    ("shape", "settings", "passes"),
    [((2, 3, 2), "", 2), ((1, 3, 2), "", 1), ((2, 3), "axis: 0 num_axes: 2", 1), ((1, 3, 2), "num_axes: 0", 2)],
)
def test_gradient_of_the_factor_over_two_passes(shape, settings, passes):
    one = net("Scale", f"scale_param {{ {settings} }}", [shape])
    x = torch.randn(shape)
    (factor,) = one.parameters()
    one(b0=x)["t0"].sum().backward()
    first = factor.grad.clone()
    one(b0=x)["t0"].sum().backward()
    assert torch.allclose(factor.grad, passes * first)
