"""Softmax, SoftmaxWithLoss, Accuracy: refused settings and labels, normalisation, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes
from torch.nn.functional import cross_entropy

from netspec.errors import SpecError

SCORES, LABELS = (2, 3, 4, 5), (2, 4, 5)
BAD = [
    ("Softmax", "softmax_param { axis: 4 }", [SCORES], 1, "axis 4 is outside a bottom of 4 axes"),
    ("SoftmaxWithLoss", "softmax_param { axis: -5 }", [SCORES, LABELS], 1, "axis -5 is outside a bottom of 4 axes"),
    ("SoftmaxWithLoss", "", [SCORES, (2, 4, 4)], 1, "has 32 labels for the 40 places of bottom 0 [2, 3, 4, 5]"),
    ("SoftmaxWithLoss", "", [SCORES, (1, 8, 5)], 1, "differ in the first axis"),
    ("SoftmaxWithLoss", "", [SCORES], 1, "has 1 bottom and takes 2"),
    ("SoftmaxWithLoss", "", [SCORES, LABELS], 3, "has 3 tops and takes 1 to 2"),
    ("Accuracy", "accuracy_param { axis: 9 }", [SCORES, LABELS], 1, "axis 9 is outside a bottom of 4 axes"),
    ("Accuracy", "accuracy_param { top_k: 4 }", [SCORES, LABELS], 1, "top_k 4 is more than the 3 classes"),
    ("Accuracy", "", [SCORES, (2, 4)], 1, "has 8 labels for the 40 places"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, settings, shapes, tops, message)


def labels(*ignored: int) -> torch.Tensor:
    y = torch.randint(0, 3, LABELS).double()
    y[0, :2] = ignored[0] if ignored else 1
    return y


def test_gradients():
    check_gradients("Softmax", "softmax_param { axis: -2 }", [SCORES])
    check_gradients("SoftmaxWithLoss", "", [SCORES, LABELS], fixed=[labels()])
    check_gradients("SoftmaxWithLoss", "loss_param { ignore_label: 255 }", [SCORES, LABELS], fixed=[labels(255)])


@pytest.mark.parametrize(
    ("mode", "divisor"), [("FULL", 40), ("VALID", 30), ("BATCH_SIZE", 2), ("NONE", 1)], ids=lambda v: str(v)
)
def test_normalization(mode, divisor):
    x, y = torch.randn(SCORES, dtype=torch.float64), labels(255)
    one = layer("SoftmaxWithLoss", f"loss_param {{ ignore_label: 255 normalization: {mode} }}", [SCORES, LABELS])
    total = cross_entropy(x, y.long(), ignore_index=255, reduction="sum")
    assert torch.isclose(one.forward([x, y], [])[0], total / divisor)


def test_underflow_counts_as_the_least_float_but_keeps_its_gradient():
    one = layer("SoftmaxWithLoss", "", [(1, 2), (1,)])
    x = torch.tensor([[0.0, 500.0]], requires_grad=True)
    loss = one.forward([x, torch.zeros(1)], [])[0]
    loss.backward()
    assert math.isclose(loss.item(), 87.33654475, rel_tol=1e-6)
    assert x.grad.tolist() == [[-1.0, 1.0]]


def test_second_top_is_the_softmax_and_passes_no_gradient():
    one = layer("SoftmaxWithLoss", "", [SCORES, LABELS], 2)
    x = torch.randn(SCORES, requires_grad=True)
    loss, p = one.forward([x, labels().float()], [])
    assert loss.shape == () and torch.allclose(p, x.softmax(1)) and not p.requires_grad


def test_the_loss_of_half_precision_scores_is_a_float():
    one = layer("SoftmaxWithLoss", "", [SCORES, LABELS])
    x, y = torch.randn(SCORES).bfloat16().requires_grad_(), labels().float()
    loss = one.forward([x, y], [])[0]
    loss.backward()
    assert loss.dtype == torch.float32 and x.grad.dtype == torch.bfloat16
    assert torch.isclose(loss, cross_entropy(x.float(), y.long()))


@pytest.mark.parametrize("type", ["SoftmaxWithLoss", "Accuracy"])
@pytest.mark.parametrize("value", [3, -1, 255])
def test_a_label_outside_the_classes_is_refused(type, value):
    one = net(type, "", [SCORES, LABELS])
    with pytest.raises(SpecError, match=rf"layer 'one' .*label {value} is outside the 3 classes 0 to 2"):
        one(b0=torch.randn(SCORES), b1=labels(value).float())


def test_accuracy_shapes():
    assert top_shapes("Accuracy", "", [SCORES, LABELS], 2) == [(), (3,)]


def test_accuracy_counts_a_tie_as_wrong():
    one = layer("Accuracy", "", [(2, 2), (2,)])
    assert one.forward([torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.ones(2)], [])[0] == 0.5
