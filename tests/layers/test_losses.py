"""The losses but SoftmaxWithLoss: what is refused, gradients, the infogain matrix, normalisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused

from netspec import schema
from netspec.errors import SpecError
from netspec.layers.normalization import normalizer
from netspec.spec import binary
from netspec.spec.text import parse

ROWS = [(4, 3), (4,)]
BAD = [
    ("ContrastiveLoss", "", [(4, 3), (4, 3)], "has 2 bottoms and takes 3"),
    ("ContrastiveLoss", "", [(4, 3), (5, 3), (4,)], "differ in the first axis"),
    ("ContrastiveLoss", "", [(4, 3), (4, 2), (4,)], "bottoms [4, 3] and [4, 2] differ in channels"),
    ("ContrastiveLoss", "", [(4, 3, 2, 1), (4, 3), (4,)], "bottom [4, 3, 2, 1] must be N x C or N x C x 1 x 1"),
    ("ContrastiveLoss", "", [(4, 3), (4, 3, 1, 2), (4,)], "bottom [4, 3, 1, 2] must be N x C or N x C x 1 x 1"),
    ("ContrastiveLoss", "", [(4, 3, 1, 1, 1), (4, 3), (4,)], "must be N x C or N x C x 1 x 1"),
    ("ContrastiveLoss", "", [(4, 3), (4, 3), (4, 2)], "bottom 2 [4, 2] must hold one label per row, 4"),
    ("EuclideanLoss", "", [(4, 3), (3, 4)], "bottoms [4, 3] and [3, 4] differ in the first axis"),
    ("EuclideanLoss", "", [(4, 3), (4, 2)], "bottoms [4, 3] and [4, 2] differ in the number of values"),
    ("EuclideanLoss", "", [(), ()], "differ in the first axis"),
    ("HingeLoss", "", [(4, 3), (3,)], "differ in the first axis"),
    ("HingeLoss", "", [(4, 3), (4, 3)], "bottom 1 [4, 3] must hold one label per row, 4"),
    ("InfogainLoss", "", ROWS, "the infogain matrix is missing: give source, or a third bottom"),
    ("InfogainLoss", "", [(4, 3), (4,), (3, 2)], "the infogain matrix [3, 2] must be 3 x 3"),
    (
        "InfogainLoss",
        "loss_param { normalize: true }",
        [*ROWS, (3, 3)],
        "normalize is not supported: give normalization",
    ),
    ("InfogainLoss", "infogain_loss_param { axis: 2 }", [(4, 3), (4,), (3, 3)], "axis 2 is outside"),
    ("InfogainLoss", "", [(4, 3, 2), (4,), (3, 3)], "labels for the 8 places"),
    ("MultinomialLogisticLoss", "", [(4, 3), (3,)], "differ in the first axis"),
    ("MultinomialLogisticLoss", "", [(4, 3), (4, 2)], "bottom 1 [4, 2] must hold one label per row, 4"),
    ("SigmoidCrossEntropyLoss", "", [(4, 3), (3, 4)], "differ in the first axis"),
    ("SigmoidCrossEntropyLoss", "", [(4, 3), (4, 2)], "differ in the number of values"),
]
LABELS = [0, 2, 1, 2]
MATRIX = [[1.0, 0.2, 0], [0, 2, 0.5], [0.1, 0, 1]]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


@pytest.mark.parametrize(
    ("type", "settings", "shapes", "fixed"),
    [
        ("ContrastiveLoss", "contrastive_loss_param { legacy_version: true }", [(3, 2), (3, 2), (3,)], [[1, 0, 0]]),
        ("EuclideanLoss", "", [(3, 2), (3, 2, 1)], []),
        ("HingeLoss", "", ROWS, [LABELS]),
        ("HingeLoss", "hinge_loss_param { norm: L2 }", ROWS, [LABELS]),
        ("InfogainLoss", "", [*ROWS, (3, 3)], [LABELS, MATRIX]),
        ("InfogainLoss", "loss_param { ignore_label: 2 }", [*ROWS, (3, 3)], [LABELS, MATRIX]),
        ("SigmoidCrossEntropyLoss", "", [(3, 2), (3, 2)], [[[0, 1], [0.5, 2], [1, 1]]]),
        ("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 1 }", [(3, 2), (3, 2)], [[[0, 1], [0.5, 2], [1, 1]]]),
    ],
)
def test_gradients(type, settings, shapes, fixed):
    check_gradients(type, settings, shapes, fixed=fixed)


def test_contrastive_slope_has_a_small_number_in_its_divisor():
    """Against the formula of the docstring: differences of the value know nothing of the 1e-4."""
    a = torch.tensor([[0.0, 0], [1, 1]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[0.3, 0.4], [1, 1]], dtype=torch.float64, requires_grad=True)
    one = layer("ContrastiveLoss", "contrastive_loss_param { margin: 2 }", [(2, 2), (2, 2), (2,)])
    one.forward([a, b, torch.zeros(2)], [])[0].backward()
    want = -(a - b)[0] * (2 - 0.5) / (0.5 + 1e-4) / 2
    torch.testing.assert_close(a.grad, torch.stack([want, torch.zeros(2, dtype=torch.float64)]))
    torch.testing.assert_close(b.grad, -a.grad)


def test_logarithms_of_tiny_probabilities_keep_their_slope():
    p = torch.tensor([[0.5, 0.5], [1e-30, 1.0]], requires_grad=True)
    loss = layer("MultinomialLogisticLoss", "", [(2, 2), (2,)]).forward([p, torch.tensor([0.0, 0])], [])[0]
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(-(np.log(0.5) + np.log(1e-20)) / 2, dtype=torch.float32))
    torch.testing.assert_close(p.grad, torch.tensor([[-1.0, 0], [-5e19, 0]]))


@pytest.mark.parametrize("type", ["HingeLoss", "MultinomialLogisticLoss"])
def test_labels_outside_the_classes(type):
    built = net(type, "", [(2, 3), (2,)])
    with pytest.raises(SpecError, match=r"net.prototxt:3:1: .*label 3 is outside the 3 classes"):
        built(b0=torch.ones(2, 3), b1=torch.tensor([0.0, 3]))


def test_labels_take_no_gradient():
    for type, bottoms, free in (("ContrastiveLoss", 3, {0, 1}), ("EuclideanLoss", 2, {0, 1}), ("HingeLoss", 2, {0})):
        shapes = [(4, 3), (4, 3), (4,)] if bottoms == 3 else [(4, 3), (4, 3)] if free == {0, 1} else ROWS
        one = layer(type, "", shapes)
        assert {i for i in range(bottoms) if one.gradient_to(i)} == free


def test_a_bottom_of_one_axis_has_one_class():
    x, zero = torch.tensor([0.5, -2.0, 3.0]), torch.zeros(3)
    run = {type: net(type, "", [(3,), (3,)])(b0=x, b1=zero)["t0"] for type in ("HingeLoss", "EuclideanLoss")}
    torch.testing.assert_close(run["HingeLoss"], torch.tensor((0.5 + 3 + 0) / 3))
    torch.testing.assert_close(run["EuclideanLoss"], torch.tensor((0.25 + 4 + 9) / 6))
    p = torch.tensor([0.5, 0.25])
    loss = net("MultinomialLogisticLoss", "", [(2,), (2,)])(b0=p, b1=torch.zeros(2))["t0"]
    torch.testing.assert_close(loss, -p.log().mean())
    apart = net("ContrastiveLoss", "contrastive_loss_param { margin: 3 }", [(3,), (3,), (3,)])(b0=x, b1=zero, b2=zero)
    torch.testing.assert_close(apart["t0"], torch.tensor((2.5**2 + 1 + 0) / 6))


def write_matrix(path, values, **shape):
    blob = schema.new("BlobProto", data=np.ravel(values), **shape)
    binary.write(path, blob)


def test_infogain_matrix_from_a_file(tmp_path):
    write_matrix(tmp_path / "h.binaryproto", MATRIX, num=1, channels=1, height=3, width=3)
    x, label = torch.randn(4, 3), torch.tensor(LABELS)
    settings = f'infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}'
    got = net("InfogainLoss", settings, ROWS)(b0=x, b1=label)["t0"]
    torch.testing.assert_close(
        got, net("InfogainLoss", "", [*ROWS, (3, 3)])(b0=x, b1=label, b2=torch.tensor(MATRIX))["t0"]
    )


def test_infogain_matrices_that_do_not_fit(tmp_path):
    x, label = torch.randn(4, 3), torch.tensor(LABELS)
    write_matrix(tmp_path / "small", [1.0] * 4, shape=schema.new("BlobShape", dim=[2, 2]))
    write_matrix(tmp_path / "torn", [1.0] * 4, shape=schema.new("BlobShape", dim=[3, 3]))
    for name, message in (
        ("small", r"the infogain matrix \[2, 2\] must be 3 x 3"),
        ("torn", r"a blob of shape \[3, 3\] holds 4 values"),
        ("none", "no file '.*none'"),
    ):
        built = net("InfogainLoss", f'infogain_loss_param {{ source: "{tmp_path}/{name}" }}', ROWS)
        with pytest.raises(SpecError, match=rf"net.prototxt:4:\d+: .*InfogainLoss.*{message}"):
            built(b0=x, b1=label)


def test_infogain_second_top_is_the_softmax():
    x = torch.randn(4, 3)
    built = net("InfogainLoss", "", [*ROWS, (3, 3)], 2)
    p = built(b0=x, b1=torch.tensor(LABELS), b2=torch.eye(3))["t1"]
    torch.testing.assert_close(p, x.softmax(1))


@pytest.mark.parametrize(
    ("settings", "default", "want"),
    [
        ("", "VALID", 5),
        ("", "BATCH_SIZE", 2),
        ("normalize: true", "BATCH_SIZE", 5),
        ("normalize: false", "VALID", 2),
        ("normalization: FULL normalize: false", "VALID", 6),
        ("normalization: VALID", "BATCH_SIZE", 5),
        ("normalization: BATCH_SIZE", "VALID", 2),
        ("normalization: NONE", "VALID", 1),
    ],
)
def test_normalizer(settings, default, want):
    loss_param = parse(settings, message="LossParameter").message
    assert normalizer(loss_param, 2, 3, 5, default) == want
    assert float(normalizer(loss_param, 2, 3, torch.tensor(5), default)) == want
    assert normalizer(loss_param, 2, 3, None, default) == (6 if want == 5 else want)
    assert normalizer(loss_param, 0, 3, 0, default) == 1
    assert float(normalizer(loss_param, 0, 3, torch.tensor(0), default)) == 1
