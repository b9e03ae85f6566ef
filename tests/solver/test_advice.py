"""Warnings in words, and their silence; bilinear kernels."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from solver_nets import DRAWN, NET, SEGMENT, DrawnSource, everything, solver

from netspec.solver.interpolation import kernel

FILLER = ' weight_filler { type: "xavier" }'


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def image(label: float = 1.0):
    return {"data": torch.ones(1, 2, 6, 6), "label": torch.full((1, 1, 6, 6), label)}


def test_a_net_without_fillers_is_said_to_learn_nothing(caplog):
    s = solver(NET.replace(FILLER, ""))
    before = everything(s)
    s.step(3)
    stuck, blocked = warnings(caplog)
    assert "layers 'score' have all-zero weights and read only zeros" in stuck
    assert "frozen layers 'frozen' have all-zero weights" in blocked
    np.testing.assert_array_equal(everything(s)["conv.weight"], 0 * before["conv.weight"])


def test_zero_layers_on_zero_layers_are_said_to_learn_nothing(caplog):
    net = NET.replace(FILLER, "").replace("param { lr_mult: 0 } param { lr_mult: 0 }", "")
    s = solver(net)
    s.step(3)
    assert len(warnings(caplog)) == 1
    assert "layers 'frozen', 'score' have all-zero weights and read only zeros" in warnings(caplog)[0]
    assert not everything(s)["score.weight"].any()


def test_a_zero_score_layer_is_healthy(caplog):
    net = NET[::-1].replace(FILLER[::-1], "", 1)[::-1]  # the last one
    s = solver(net)
    assert not everything(s)["score.weight"].any()
    s.step(3)
    assert everything(s)["score.weight"].any()
    assert not warnings(caplog)


def test_a_net_without_a_loss_or_without_what_moves_is_told(caplog):
    solver(NET[: NET.rindex("layer {")] + 'layer { name: "end" type: "Silence" bottom: "score" bottom: "label" }').step(
        1
    )
    assert "the net has no loss: it will learn nothing" in warnings(caplog)[0]
    caplog.clear()
    frozen = " param { lr_mult: 0 } param { lr_mult: 0 }"
    net = NET.replace("  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }", frozen)
    solver(net.replace('top: "score"', f'top: "score"{frozen}')).step(1)
    assert "the net has nothing that moves below its loss: it will learn nothing" in warnings(caplog)[0]


BIG = SEGMENT.replace("dim: 6 dim: 6", "dim: 600 dim: 500")


@pytest.mark.parametrize(
    ("normalize", "rate", "weight", "words"),
    [
        ("false", 1e-4, "", "is a sum over 300000 pixels; base_lr 0.0001 will diverge"),
        ("false", 1e-10, "", None),
        ("false", 1e-4, "loss_weight: 4e-6", None),
        ("true", 1e-10, "", "is a mean over pixels; base_lr 1e-10 will learn next to nothing"),
        ("true", 1e-4, "", None),
    ],
)
def test_rates_that_do_not_fit_the_loss(normalize, rate, weight, words, caplog):
    net = BIG.replace("normalize: true", f"normalize: {normalize}").replace("loss_param", f"{weight} loss_param")
    s = solver(net, base_lr=rate, feed=lambda: image())
    s.step(1)
    assert [words in w for w in warnings(caplog)] == [True] * (words is not None) if words else not warnings(caplog)
    if words and normalize == "false":
        assert "base_lr near 1e-10 with momentum 0.99" in caplog.text
        assert "loss_weight: 3e-06" in caplog.text


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_a_loss_of_certain_mistakes(normalize, caplog):
    net = SEGMENT.replace("normalize: true", f"normalize: {normalize}")
    s = solver(net, base_lr=0, feed=lambda: image())
    with torch.no_grad():
        s.net.get_parameter("score.bias").copy_(torch.tensor([1e4, 0.0, 0.0]))
    s.step(3)
    assert len(warnings(caplog)) == 1
    assert "87.3365" in warnings(caplog)[0]


def test_a_loss_that_is_not_a_number(caplog):
    s = solver(feed=lambda: {**image(), "data": torch.full((1, 2, 6, 6), float("nan"))})
    s.step(3)
    assert len(warnings(caplog)) == 1
    assert "the loss is nan at iteration 0" in warnings(caplog)[0]
    assert "lower base_lr (0.05)" in warnings(caplog)[0]


def test_classes_of_the_data_set_and_of_the_scores(caplog, monkeypatch):
    class Set:
        classes = {"label": 21}

    monkeypatch.setattr(DrawnSource, "dataset", Set(), raising=False)
    monkeypatch.setattr(DrawnSource, "peek_shapes", lambda self: [(1, 2, 6, 6), (1, 1, 6, 6)])
    monkeypatch.setattr(DrawnSource, "next", lambda self: [x.numpy() for x in image().values()])
    solver(DRAWN + SEGMENT[SEGMENT.index('layer { name: "score"') :]).step(1)
    assert len(warnings(caplog)) == 1
    assert "'score' scores 3 classes, but the labels 'label' have 21" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"gamma": 0.1, "stepvalue": [1, 2]},
            ["gamma has no effect with lr_policy 'fixed'", "stepvalue has no effect"],
        ),
        (
            {"lr_policy": '"step"', "stepsize": 2, "gamma": 0.1, "power": 1},
            ["power has no effect with lr_policy 'step'"],
        ),
        ({"rms_decay": 0.9, "delta": 1}, ["rms_decay has no effect with type 'SGD'", "delta has no effect"]),
        ({"type": '"Adam"', "momentum2": 0.9, "delta": 1e-3}, []),
        (
            {"test_interval": 5, "test_compute_loss": "true"},
            ["test_interval has no", "test_compute_loss has no effect"],
        ),
        ({"debug_info": "true"}, ["debug_info has no effect with display 0"]),
        ({"weight_decay": 0, "regularization_type": '"L1"'}, ["regularization_type has no effect with weight_decay 0"]),
    ],
)
def test_fields_without_effect(fields, words, caplog):
    solver(feed=image, **fields).step(1)
    assert len(warnings(caplog)) == len(words)
    for warning, part in zip(warnings(caplog), words, strict=True):
        assert warning.startswith("<text>:")
        assert part in warning


# -- bilinear kernels

UP = """
layer { name: "up" type: "Deconvolution" bottom: "score" top: "up" param { lr_mult: LR }
  convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false GROUP } }
"""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16, 33])
def test_kernel_is_the_formula(size):
    f = (size + 1) // 2
    c = f - 1 if size % 2 else f - 0.5
    want = [[(1 - abs(x - c) / f) * (1 - abs(y - c) / f) for x in range(size)] for y in range(size)]
    np.testing.assert_allclose(kernel(size), want, rtol=1e-6)


def test_frozen_upsampling_gets_kernels_and_nothing_else_does(caplog):
    caplog.set_level(logging.INFO)
    net = SEGMENT[: SEGMENT.index('layer { name: "loss"')] + UP
    frozen = solver(net.replace("LR", "0").replace("GROUP", ""))
    weight = everything(frozen)["up.weight"]
    for i in range(3):
        for j in range(3):
            np.testing.assert_array_equal(weight[i, j], kernel(4) * (i == j))
    assert "bilinear kernels put into frozen upsampling layers: up" in caplog.text
    grouped = everything(solver(net.replace("LR", "0").replace("GROUP", "group: 3")))["up.weight"]
    np.testing.assert_array_equal(grouped, np.broadcast_to(kernel(4), (3, 1, 4, 4)))
    assert not everything(solver(net.replace("LR", "1").replace("GROUP", "")))["up.weight"].any()
    assert not everything(solver(net.replace("LR", "0").replace("GROUP", ""), interp=False))["up.weight"].any()
    filled = net.replace("LR", "0").replace("GROUP", 'weight_filler { type: "constant" value: 2 }')
    assert (everything(solver(filled))["up.weight"] == 2).all()
