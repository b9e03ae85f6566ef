"""Flatten, Reshape, Reduction, Slice, Tile: shapes, what is refused, gradients."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, refused, text, top_shapes

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.spec.text import parse

SMALL = [(2, 4, 3)]
BAD = [
    ("Flatten", "flatten_param { axis: 3 }", SMALL, 1, "axis 3 is outside a bottom of 3 axes [2, 4, 3]"),
    ("Flatten", "flatten_param { end_axis: -4 }", SMALL, 1, "axis -4 is outside a bottom of 3 axes"),
    ("Flatten", "flatten_param { axis: 2 end_axis: 0 }", SMALL, 1, "end_axis 0 comes before axis 2"),
    ("Reshape", "reshape_param { shape { dim: [-1, -1] } }", SMALL, 1, "shape [-1, -1] has several -1"),
    ("Reshape", "reshape_param { shape { dim: [-2, 12] } }", SMALL, 1, "shape [-2, 12] has a dimension below -1"),
    ("Reshape", "reshape_param { shape { dim: 24 } num_axes: -2 }", SMALL, 1, "num_axes -2 must be -1 or more"),
    ("Reshape", "reshape_param { shape { dim: 24 } axis: 4 }", SMALL, 1, "axis 4 is outside a bottom of 3 axes"),
    ("Reshape", "reshape_param { shape { dim: 24 } axis: -5 }", SMALL, 1, "axis -5 is outside a bottom of 3 axes"),
    ("Reshape", "reshape_param { shape { dim: 1 } axis: 2 num_axes: 2 }", SMALL, 1, "axis 2 and num_axes 2 exceed"),
    ("Reshape", "reshape_param { shape { dim: [2, 4, 3, 0] } }", SMALL, 1, "a dimension 0 copies axis 3, but"),
    ("Reshape", "reshape_param { shape { dim: [5, -1] } }", SMALL, 1, "has 24 values, no multiple of the 5 beside -1"),
    (
        "Reshape",
        "reshape_param { shape { dim: [2, 3] } }",
        SMALL,
        1,
        "[2, 4, 3] has another number of values than [2, 3]",
    ),
    ("Reduction", "reduction_param { axis: 3 }", SMALL, 1, "axis 3 is outside a bottom of 3 axes"),
    ("Reduction", "", [()], 1, "axis 0 is outside a bottom of 0 axes"),
    ("Slice", "slice_param { axis: 1 slice_dim: 1 }", SMALL, 2, "give axis or slice_dim, not both"),
    ("Slice", "slice_param { axis: 3 }", SMALL, 2, "axis 3 is outside a bottom of 3 axes"),
    ("Slice", "slice_param { slice_dim: 3 }", SMALL, 2, "axis 3 is outside a bottom of 3 axes"),
    ("Slice", "slice_param { slice_point: [1, 2] }", SMALL, 2, "2 slice_point for 2 tops; give 1 or none"),
    ("Slice", "slice_param { slice_point: [2, 2] }", SMALL, 3, "slice_point [2, 2] must be above 0 and increase"),
    ("Slice", "slice_param { slice_point: 0 }", SMALL, 2, "slice_point [0] must be above 0 and increase"),
    ("Slice", "slice_param { slice_point: 5 }", SMALL, 2, "slice_point 5 exceeds the 4 values of [2, 4, 3]"),
    ("Slice", "", SMALL, 3, "3 tops do not divide axis 1 of [2, 4, 3] evenly"),
    ("Slice", "", SMALL, 5, "5 tops for 4 values along axis 1"),
    ("Tile", "", SMALL, 1, "tiles is missing"),
    ("Tile", "tile_param { tiles: 0 }", SMALL, 1, "tiles 0 must be at least 1"),
    ("Tile", "tile_param { tiles: 2 axis: -4 }", SMALL, 1, "axis -4 is outside a bottom of 3 axes"),
]
GOOD = [
    ("Flatten", "", 1, [(2, 12)]),
    ("Flatten", "flatten_param { axis: 0 end_axis: 1 }", 1, [(8, 3)]),
    ("Flatten", "flatten_param { axis: 1 end_axis: 0 }", 1, [(2, 1, 4, 3)]),
    ("Reshape", "reshape_param { shape { dim: [0, -1] } }", 1, [(2, 12)]),
    ("Reshape", "reshape_param { shape { dim: [2, -1] } axis: 1 num_axes: 1 }", 1, [(2, 2, 2, 3)]),
    ("Reshape", "reshape_param { shape { dim: [1, 1] } axis: -1 }", 1, [(2, 4, 3, 1, 1)]),
    ("Reshape", "reshape_param { shape { dim: 1 } num_axes: 0 }", 1, [(1, 2, 4, 3)]),
    ("Reduction", "", 1, [()]),
    ("Reduction", "reduction_param { axis: -1 operation: MEAN }", 1, [(2, 4)]),
    ("Slice", "slice_param { slice_point: [1, 2] }", 3, [(2, 1, 3), (2, 1, 3), (2, 2, 3)]),
    ("Slice", "slice_param { slice_dim: 1 }", 2, [(2, 2, 3)] * 2),
    ("Slice", "slice_param { axis: -1 }", 3, [(2, 4, 1)] * 3),
    ("Tile", "tile_param { tiles: 3 axis: -1 }", 1, [(2, 4, 9)]),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, settings, shapes, tops, message)


@pytest.mark.parametrize(("type", "settings", "tops", "want"), GOOD)
def test_shapes_and_gradients(type, settings, tops, want):
    assert top_shapes(type, settings, SMALL, tops) == want
    ran = layer(type, settings, SMALL, tops).forward([torch.randn(SMALL[0])], [])
    assert [tuple(top.shape) for top in ran] == want
    check_gradients(type, settings, SMALL, tops)


@pytest.mark.parametrize("type", ["Flatten", "Reshape"])
def test_a_view_is_never_in_place(type):
    source = text(type, "", SMALL).replace('top: "t0"', 'top: "b0"')
    with pytest.raises(SpecError, match="changes 'b0' in place; give its top another name"):
        Net(lower(parse(source)))


@pytest.mark.parametrize(("operation", "want"), [("SUM", 0.0), ("ASUM", 12.0), ("SUMSQ", 28.0), ("MEAN", 0.0)])
def test_reductions(operation, want):
    x = torch.tensor([-3.0, -2, -1, 0, 1, 2, 3])
    one = layer("Reduction", f"reduction_param {{ operation: {operation} coeff: 2 }}", [(7,)])
    assert one.forward([x], [])[0].item() == 2 * want
    check_gradients("Reduction", f"reduction_param {{ operation: {operation} axis: 1 coeff: -0.5 }}", SMALL)


def test_places_correspond_unless_space_is_cut():
    for type, field in (("Slice", "slice_param { axis: %d }"), ("Tile", "tile_param { tiles: 1 axis: %d }")):
        assert layer(type, field % 1, SMALL).coord_map() is not None
        assert layer(type, field % 2, SMALL).coord_map() is None
    assert layer("Flatten", "", SMALL).coord_map() is None


def test_nothing_is_no_multiple_of_nothing():
    one = layer("Reshape", "reshape_param { shape { dim: [0, -1] } }", SMALL)
    with pytest.raises(SpecError, match="no multiple of the 0 beside -1"):
        one.shapes([(0, 3)])
