"""loss_weights: defaults, written weights, losses read by other layers."""

from __future__ import annotations

import pytest
from pass_nets import input, ip, layer, read, tables

from netspec.errors import SpecError
from netspec.passes.bind import bind
from netspec.passes.loss_weights import loss_weights

START = input("x", 2, 3) + input("t", 2, 3) + ip("y", "x")


def weights(source: str) -> dict[str, tuple[float, float]]:
    return {name: (w.value, w.gradient) for name, w in tables(START + source)[2].items()}


def test_defaults():
    assert weights(layer("EuclideanLoss", "l", "y t")) == {"l": (1, 1)}
    assert weights(layer("EuclideanLoss", "l", "y t", "")) == {"(automatic)": (1, 1)}
    assert weights(layer("TanH", "l", "y")) == {}


def test_written():
    assert weights(layer("EuclideanLoss", "l", "y t", None, "loss_weight: 0.5")) == {"l": (0.5, 0.5)}
    assert weights(layer("EuclideanLoss", "l", "y t", "", "loss_weight: 0.5")) == {"(automatic)": (0.5, 0.5)}
    assert weights(layer("EuclideanLoss", "l", "y t", None, "loss_weight: 0")) == {}
    assert weights(layer("Slice", "s", "y", "a b c", "loss_weight: [0, 2, 1]")) == {"b": (2, 2), "c": (1, 1)}


def test_a_default_weight_gives_way_to_the_gradient_of_a_reader():
    loss = layer("EuclideanLoss", "l", "y t")
    assert weights(loss + layer("Power", "p", "l", None, "loss_weight: 1")) == {"l": (1, 0), "p": (1, 1)}
    assert weights(loss + layer("Power", "p", "l")) == {"l": (1, 1)}
    written = layer("EuclideanLoss", "l", "y t", None, "loss_weight: 0.5")
    assert weights(written + layer("Power", "p", "l", None, "loss_weight: 1")) == {"l": (0.5, 0.5), "p": (1, 1)}


def test_another_number_of_weights():
    bound = bind(read(START + layer("Slice", "s", "y", "a b c", "loss_weight: [0, 2]")))
    with pytest.raises(
        SpecError, match=r"net.prototxt:4:\d+: .*'s' \(Slice\): loss_weight is given 2 times for 3 tops"
    ):
        loss_weights(bound)
