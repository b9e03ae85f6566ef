"""ArgMax, BatchReindex, Embed, Filter: which values are picked, and what is refused."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

from netspec.errors import SpecError
from netspec.ir.coords import IDENTITY

BAD = [
    ("ArgMax", "argmax_param { top_k: 0 }", [(2, 3)], 1, "top_k must be at least 1"),
    ("ArgMax", "argmax_param { top_k: 4 }", [(2, 3)], 1, "top_k 4 exceeds the 3 values there are"),
    ("ArgMax", "argmax_param { top_k: 4 axis: 1 }", [(2, 3, 5)], 1, "top_k 4 exceeds the 3 values there are"),
    ("ArgMax", "argmax_param { axis: 2 }", [(2, 3)], 1, "axis 2 is outside a bottom of 2 axes [2, 3]"),
    ("ArgMax", "", [()], 1, "the bottom has no axes"),
    ("BatchReindex", "", [(2, 3)], 1, "has 1 bottom and takes 2"),
    ("BatchReindex", "", [(2, 3), (4, 1)], 1, "bottom 1 holds indices and must have one axis, not [4, 1]"),
    ("BatchReindex", "", [(), (4,)], 1, "bottom 0 has no axes"),
    ("Embed", "embed_param { input_dim: 3 }", [(2,)], 1, "num_output is missing or 0"),
    ("Embed", "embed_param { num_output: 3 }", [(2,)], 1, "input_dim is missing or 0"),
    ("Filter", "", [(2, 3), (2,)], 2, "has 2 tops for 1 bottom and a selector"),
    ("Filter", "", [(2, 3)], 1, "has 1 bottom and takes at least 2"),
    ("Filter", "", [(2, 3), (2, 2)], 1, "the selector [2, 2] must hold one value per row"),
    ("Filter", "", [(2, 3), ()], 1, "the selector [] must hold one value per row"),
    ("Filter", "", [(2, 3), (3,)], 1, "bottom [2, 3] and the selector [3] differ in rows"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, settings, shapes, tops, message)


@pytest.mark.parametrize(
    ("settings", "shape", "top"),
    [
        ("", (2, 3, 4, 5), (2, 1, 1, 1)),
        ("top_k: 2 out_max_val: true", (2, 3, 4, 5), (2, 2, 2, 1)),
        ("top_k: 2", (2, 3), (2, 1, 2)),
        ("", (2, 3, 1, 1, 1), (2, 1, 1, 1, 1)),
        ("out_max_val: true", (3,), (3, 2, 1)),
        ("axis: -1 top_k: 2", (2, 3, 4), (2, 3, 2)),
    ],
)
def test_arg_max_shapes(settings, shape, top):
    one = layer("ArgMax", f"argmax_param {{ {settings} }}", [shape])
    assert one.shapes([shape]) == [top]
    assert tuple(one.forward([torch.randn(shape)], [])[0].shape) == top


def test_arg_max_takes_the_later_of_equals():
    x = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]])
    assert layer("ArgMax", "", [(1, 5)]).forward([x], [])[0].flatten().tolist() == [4]
    best = layer("ArgMax", "argmax_param { top_k: 4 out_max_val: true }", [(1, 5)]).forward([x], [])[0]
    assert best.tolist() == [[[4, 2, 1, 3], [3, 3, 3, 2]]]
    values = layer("ArgMax", "argmax_param { axis: 1 top_k: 2 out_max_val: true }", [(1, 5)]).forward([x], [])[0]
    assert values.tolist() == [[3, 3]]
    assert layer("ArgMax", "argmax_param { axis: 1 }", [(1, 5)]).coord_map() == IDENTITY
    assert layer("ArgMax", "", [(1, 5)]).coord_map() is None


@pytest.mark.parametrize(("index", "bad"), [([0, 3], 3), ([0, -1], -1)])
def test_indices_outside_are_refused_with_their_place(index, bad):
    built = net("BatchReindex", "", [(3, 2), (2,)])
    with pytest.raises(SpecError, match=rf"net.prototxt:3:1: .*'one' \(BatchReindex\): index {bad} is outside 0..2"):
        built(b0=torch.zeros(3, 2), b1=torch.tensor(index, dtype=torch.float32))
    built = net("Embed", "embed_param { num_output: 2 input_dim: 3 }", [(2,)])
    with pytest.raises(SpecError, match=rf"index {bad} is outside 0..2"):
        built(b0=torch.tensor(index, dtype=torch.float32))


def test_gradients():
    check_gradients("BatchReindex", "", [(3, 2), (4,)], fixed=[[2, 0, 2, 2]])
    check_gradients("Filter", "", [(3, 2), (3, 1, 2), (3, 1)], 2, fixed=[[[2.0], [0], [-1]]])
    check_gradients("Embed", "embed_param { num_output: 2 input_dim: 3 }", [(4, 1)], fixed=[[[2], [0], [2], [2]]])


def test_shapes():
    assert top_shapes("BatchReindex", "", [(3, 2, 5), (7,)]) == [(7, 2, 5)]
    assert top_shapes("Embed", "embed_param { num_output: 2 input_dim: 3 }", [(4, 5)]) == [(4, 5, 2)]
    assert top_shapes("Filter", "", [(3, 2), (3, 5), (3,)], 2) == [(3, 2), (3, 5)]


def test_nothing_kept_is_a_blob_without_rows():
    top = net("Filter", "", [(3, 2), (3,)])(b0=torch.ones(3, 2), b1=torch.zeros(3))["t0"]
    assert top.shape == (0, 2)
