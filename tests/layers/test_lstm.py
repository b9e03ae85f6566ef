"""LSTM, RNN and LSTMUnit: refused settings, gradients, the state between passes."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, net, refused

T, N, D = 3, 2, 2
X, CONT, STATE = (T, N, 4), (T, N), (1, N, D)
SIZE = "recurrent_param { num_output: 2 }"
EXPOSE = "recurrent_param { num_output: 2 expose_hidden: true }"
BOTH = [
    ("", [X, CONT], 1, "num_output is missing or 0"),
    (SIZE, [X], 1, "has 1 bottom and takes at least 2"),
    (SIZE, [X, CONT, (N, 1), STATE], 1, "has 4 bottoms and takes 2, or 3 with a static input"),
    (SIZE, [X, CONT], 2, "has 2 tops and takes 1"),
    (SIZE, [CONT, CONT], 1, "bottom 0 [3, 2] must have at least three axes: steps, streams, values"),
    (SIZE, [X, (T, 1)], 1, "bottom 1 [3, 1] must be [3, 2]: steps, streams"),
    (SIZE, [X, (T, N, 1)], 1, "bottom 1 [3, 2, 1] must be [3, 2]"),
    (SIZE, [X, CONT, (3, 4)], 1, "bottom 2 [3, 4] must have 2 streams on its first axis"),
    (SIZE, [X, CONT, (N,)], 1, "bottom 2 [2] must have at least two axes: streams, values"),
]
BAD = [(type, *case) for type in ("LSTM", "RNN") for case in BOTH] + [
    ("LSTM", EXPOSE, [X, CONT], 1, "has 2 bottoms and takes 4, or 5 with a static input"),
    ("LSTM", EXPOSE, [X, CONT, STATE, STATE], 1, "has 1 top and takes 3"),
    ("LSTM", EXPOSE, [X, CONT, STATE, (1, N, 3)], 3, "bottom 3 [1, 2, 3] must be [1, 2, 2]: an initial state"),
    ("RNN", EXPOSE, [X, CONT], 2, "has 2 bottoms and takes 3, or 4 with a static input"),
    ("RNN", EXPOSE, [X, CONT, (1, N, 3)], 2, "bottom 2 [1, 2, 3] must be [1, 2, 2]: an initial state"),
    ("LSTMUnit", "", [(N, D), (1, N, 8), (1, N)], 2, "bottom 0 [2, 2] must be 1 x streams x cells"),
    ("LSTMUnit", "", [(2, N, D), (2, N, 8), (2, N)], 2, "bottom 0 [2, 2, 2] must be 1 x streams x cells"),
    ("LSTMUnit", "", [STATE, (1, N, 6), (1, N)], 2, "bottom 1 [1, 2, 6] must be [1, 2, 8]: four gates per cell"),
    ("LSTMUnit", "", [STATE, (1, N, 8), (N, 1)], 2, "bottom 2 [2, 1] must be [1, 2]: one marker per stream"),
    ("LSTMUnit", "", [STATE, (1, N, 8), (1, N)], 1, "has 1 top and takes 2"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, settings, shapes, tops, message)


def markers() -> torch.Tensor:
    return torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(("type", "states"), [("LSTM", 2), ("RNN", 1)])
def test_gradients(type, states):
    fixed = [markers(), *[torch.randn(STATE) for _ in range(states)]]
    shapes = [X, CONT, *[STATE] * states]
    check_gradients(type, EXPOSE, shapes, 1 + states, fixed=fixed)


def test_gradients_of_one_step():
    check_gradients("LSTMUnit", "", [STATE, (1, N, 4 * D), (1, N)], 2, fixed=[torch.tensor([[0.0, 1.0]])])


@pytest.mark.parametrize("type", ["LSTM", "RNN"])
def test_static_input_gets_its_gradient(type):
    one = layer(type, SIZE, [X, CONT, (N, 5)])
    assert [one.gradient_to(i) for i in range(3)] == [True, False, True]
    x, static = torch.randn(X), torch.randn(N, 5, requires_grad=True)
    params = [torch.randn(b.shape) for b in one.params([X, CONT, (N, 5)])]
    one.forward([x, torch.zeros(CONT), static], params)[0].sum().backward()
    assert static.grad.abs().sum() > 0


@pytest.mark.parametrize("type", ["LSTM", "RNN"])
def test_two_passes_are_one_long_sequence(type):
    one, whole = net(type, SIZE, [X, CONT]), net(type, SIZE, [(2 * T, N, 4), (2 * T, N)])
    with torch.no_grad():
        for mine, theirs in zip(one.parameters(), whole.parameters(), strict=True):
            theirs.copy_(mine.normal_())
    x, cont = torch.randn(2 * T, N, 4), torch.ones(2 * T, N)
    parts = [one(b0=x[i : i + T], b1=cont[i : i + T])["t0"] for i in (0, T)]
    assert torch.allclose(torch.cat(parts), whole(b0=x, b1=cont)["t0"], atol=1e-6)


def test_blobs_in_order():
    one = layer("LSTM", SIZE, [X, CONT, (N, 5)])
    blobs = {b.name: b.shape for b in one.params([X, CONT, (N, 5)])}
    assert blobs == {"weight_xc": (8, 4), "bias_c": (8,), "weight_xc_static": (8, 5), "weight_hc": (8, 2)}
    one = layer("RNN", SIZE, [X, CONT])
    names = ["weight_xh", "bias_h", "weight_hh", "weight_ho", "bias_o"]
    assert [b.name for b in one.params([X, CONT])] == names
    assert one.macs([X, CONT], [(T, N, D)]) == T * N * (2 * 4 + 2 * 2 + 2 * 2)
