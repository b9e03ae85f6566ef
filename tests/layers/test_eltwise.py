"""Eltwise, Concat, Crop, Dropout, Silence, InnerProduct: refused settings, gradients, coordinates."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

A, B, C = (2, 3, 4, 5), (2, 3, 4, 6), (2, 3, 2, 2)
BAD = [
    ("Eltwise", "", [A], "has 1 bottom and takes at least 2"),
    ("Eltwise", "", [A, B], "bottoms [2, 3, 4, 5] and [2, 3, 4, 6] differ in shape"),
    ("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", [A, A], "coeff is for operation SUM, not PROD"),
    ("Eltwise", "eltwise_param { coeff: 1 }", [A, A], "coeff is given 1 time for 2 bottoms"),
    ("Concat", "concat_param { axis: 1 concat_dim: 1 }", [A, A], "give axis or its older name concat_dim, not both"),
    ("Concat", "concat_param { axis: 4 }", [A, A], "axis 4 is outside a bottom of 4 axes"),
    ("Concat", "concat_param { concat_dim: 4 }", [A, A], "axis 4 is outside a bottom of 4 axes"),
    ("Concat", "", [A, B], "bottoms 0 and 1, [2, 3, 4, 5] and [2, 3, 4, 6], differ beside axis 1"),
    ("Concat", "", [A, (2, 3, 4)], "differ beside axis 1"),
    ("Crop", "", [A], "has 1 bottom and takes 2"),
    ("Crop", "crop_param { axis: 4 }", [A, C], "axis 4 is outside a bottom of 4 axes"),
    ("Crop", "crop_param { offset: [1, 1, 1] }", [A, C], "offset is given 3 times for 2 cropped axes"),
    ("Crop", "crop_param { offset: 3 }", [A, C], "offset 3 + size 2 exceeds bottom 'b0' axis 2 (4)"),
    ("Crop", "", [A, B], "offset 0 + size 6 exceeds bottom 'b0' axis 3 (5)"),
    ("Crop", "", [A, (2, 3, 4)], "bottom 1 [2, 3, 4] has fewer axes than bottom 0 [2, 3, 4, 5]"),
    ("Dropout", "dropout_param { dropout_ratio: 1 }", [A], "dropout_ratio 1 must be at least 0 and less than 1"),
    ("Dropout", "dropout_param { scale_test: true }", [A], "scale_test is not supported"),
    ("Dropout", "dropout_param { dropout_ratio: -0.5 }", [A], "dropout_ratio -0.5 must be"),
    ("Silence", "", [A], "has 1 top and takes 0"),
    ("InnerProduct", "", [A], "num_output is missing or 0"),
    ("InnerProduct", "inner_product_param { num_output: 2 axis: 4 }", [A], "axis 4 is outside a bottom of 4 axes"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


@pytest.mark.parametrize(
    "settings",
    ["", "coeff: [2, 1, -0.5]", "coeff: [1, 0, 1]", "operation: PROD", "operation: MAX"],
)
def test_eltwise_gradients(settings):
    check_gradients("Eltwise", f"eltwise_param {{ {settings} }}", [(2, 3)] * 3)


def test_other_gradients():
    check_gradients("Concat", "concat_param { axis: -1 }", [(2, 3), (2, 1)])
    check_gradients(
        "Crop", "crop_param { axis: 1 offset: [1, 0] }", [(2, 3, 4), (1, 2, 2)], fixed=[torch.zeros(1, 2, 2)]
    )
    for settings in ("", "transpose: true", "axis: 2 bias_term: false", "axis: 0"):
        check_gradients("InnerProduct", f"inner_product_param {{ num_output: 2 {settings} }}", [(2, 2, 3)])


def test_shapes():
    assert top_shapes("Concat", "concat_param { axis: -1 }", [A, B]) == [(2, 3, 4, 11)]
    assert top_shapes("Crop", "crop_param { offset: [2, 3] }", [A, C]) == [C]
    assert top_shapes("InnerProduct", "inner_product_param { num_output: 7 axis: -1 }", [A]) == [(2, 3, 4, 7)]


def test_crop_takes_the_part_at_the_offsets():
    x = torch.randn(A)
    top = layer("Crop", "crop_param { offset: [2, 3] }", [A, C]).forward([x, torch.zeros(C)], [])[0]
    assert torch.equal(top, x[:, :, 2:4, 3:5])


@pytest.mark.parametrize(
    ("settings", "axis", "shift"),
    [("", 1, (0,)), ("offset: 7", 1, (-7,)), ("offset: [1, 2]", 1, (-1, -2)), ("axis: -2 offset: 4", None, (-4,))],
)
def test_crop_coordinates(settings, axis, shift):
    shapes = [(1, 1, 20, 20), (1, 1, 4, 4)]
    found = layer("Crop", f"crop_param {{ {settings} }}", shapes).coord_map()
    assert (found.axis, found.shift) == (axis, tuple(Fraction(s) for s in shift))


def test_crop_of_the_first_axis_has_no_coordinates():
    assert layer("Crop", "crop_param { axis: 0 }", [A, C]).coord_map() is None


@pytest.mark.parametrize("overwrite", [True, False])
def test_dropout_keeps_the_mean(overwrite):
    one = layer("Dropout", "dropout_param { dropout_ratio: 0.25 }", [(40, 1000)], phase="TRAIN")
    one.overwrite = overwrite
    x = torch.ones(40, 1000)
    top = one.forward([x], [])[0]
    assert set(top.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs(top.mean() - 1) < 0.02
    assert (top.data_ptr() == x.data_ptr()) is overwrite


def test_eltwise_in_place_adds_to_the_first_bottom():
    one = layer("Eltwise", "eltwise_param { coeff: [2, 3] }", [(2, 2), (2, 2)])
    x, y = torch.randn(2, 2), torch.randn(2, 2)
    want = 2 * x + 3 * y
    one.overwrite = True
    assert torch.allclose(one.forward([x, y], [])[0], want)


def test_the_later_bottom_wins_a_tie_of_the_first_two():
    a, b, c = (torch.zeros(1, requires_grad=True) for _ in range(3))
    layer("Eltwise", "eltwise_param { operation: MAX }", [(1,)] * 3).forward([a, b, c], [])[0].backward()
    assert (a.grad.item(), b.grad.item(), c.grad.item()) == (0, 1, 0)


def test_silence_takes_a_blob_off_the_outputs():
    assert net("Silence", "", [A, B], tops=0)(b0=torch.zeros(A), b1=torch.zeros(B)) == {}


def test_dropout_that_scales_in_testing():
    settings = "dropout_param { dropout_ratio: 0.25 scale_train: false }"
    x = torch.ones(40, 1000)
    kept = layer("Dropout", settings, [x.shape], phase="TRAIN").forward([x], [])[0]
    assert set(kept.unique().tolist()) == {0.0, 1.0} and abs(kept.mean() - 0.75) < 0.01
    assert torch.equal(layer("Dropout", settings, [x.shape]).forward([x], [])[0], 0.75 * x)
