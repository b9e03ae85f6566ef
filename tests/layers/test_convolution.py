"""Convolution, Deconvolution and Im2col: shapes, refused settings, gradients."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

from netspec.ir.coords import coord_map, equal

SMALL = [(2, 4, 5, 6)]
BAD = [
    ("Convolution", "kernel_size: 3", SMALL, 1, "num_output is missing or 0"),
    ("Convolution", "num_output: 2", SMALL, 1, "kernel_size is missing"),
    ("Convolution", "num_output: 2 kernel_size: 0", SMALL, 1, "kernel_size [0, 0] must be at least 1"),
    ("Convolution", "num_output: 2 kernel_size: 1 stride: 0", SMALL, 1, "stride [0, 0] must be at least 1"),
    ("Convolution", "num_output: 2 kernel_size: 1 dilation: 0", SMALL, 1, "dilation [0, 0] must be at least 1"),
    ("Convolution", "num_output: 2 kernel_size: [1, 2, 3]", SMALL, 1, "kernel_size is given 3 times for 2 spatial"),
    ("Convolution", "num_output: 2 kernel_size: 3 kernel_h: 2 kernel_w: 2", SMALL, 1, "not both"),
    ("Convolution", "num_output: 2 kernel_size: 3 stride: 1 stride_h: 2 stride_w: 2", SMALL, 1, "not both"),
    ("Convolution", "num_output: 2 kernel_size: 3 pad: 1 pad_h: 2 pad_w: 2", SMALL, 1, "not both"),
    ("Convolution", "num_output: 2 kernel_h: 2 kernel_w: 2", [(2, 4, 5)], 1, "are for two spatial axes"),
    ("Convolution", "num_output: 3 group: 2 kernel_size: 1", SMALL, 1, "num_output 3 is no multiple of group 2"),
    ("Convolution", "num_output: 3 group: 3 kernel_size: 1", SMALL, 1, "4 channels are no multiple of group 3"),
    ("Convolution", "num_output: 2 kernel_size: 6", SMALL, 1, "does not fit bottom [2, 4, 5, 6]"),
    ("Convolution", "num_output: 2 kernel_size: 1 axis: 4", SMALL, 1, "axis 4 is outside a bottom of 4 axes"),
    ("Convolution", "num_output: 2 kernel_size: 1", SMALL * 2, 1, "2 bottoms and 1 top"),
    ("Convolution", "num_output: 2 kernel_size: 1", [*SMALL, (2, 4, 5, 5)], 2, "differ in shape"),
    ("Deconvolution", "kernel_size: 3", SMALL, 1, "num_output is missing or 0"),
    ("Deconvolution", "num_output: 3 group: 2 kernel_size: 1", SMALL, 1, "num_output 3 is no multiple of group 2"),
    ("Deconvolution", "num_output: 6 group: 3 kernel_size: 1", SMALL, 1, "4 channels are no multiple of group 3"),
    ("Deconvolution", "num_output: 2 kernel_size: 2 pad: 3", SMALL, 1, "with pad [3, 3]"),
    ("Im2col", "", SMALL, 1, "kernel_size is missing"),
    ("Im2col", "kernel_size: 9", SMALL, 1, "does not fit bottom [2, 4, 5, 6] with pad [0, 0]"),
    ("Im2col", "kernel_size: 1 axis: 3", SMALL, 1, "has no axes after axis 3"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, f"convolution_param {{ {settings} }}", shapes, tops, message)


def test_shapes():
    assert top_shapes(
        "Deconvolution", "convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 }", SMALL
    ) == [(2, 3, 10, 12)]
    assert top_shapes("Im2col", "convolution_param { kernel_h: 2 kernel_w: 3 stride: 2 }", SMALL) == [(2, 24, 2, 2)]


@pytest.mark.parametrize(
    ("type", "settings"),
    [
        ("Convolution", "num_output: 4 kernel_size: 2 stride: 2 pad: 1 group: 2"),
        ("Deconvolution", "num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 dilation: 2"),
        ("Im2col", "kernel_size: 2 stride: 2 pad: 1 dilation: 2"),
    ],
)
def test_gradients(type, settings):
    check_gradients(type, f"convolution_param {{ {settings} }}", [(1, 2, 4, 3)])


def test_deconvolution_is_the_transpose_of_convolution():
    settings = "convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 1 bias_term: false }"
    down, up = layer("Convolution", settings, [(1, 3, 7, 7)]), layer("Deconvolution", settings, [(1, 3, 4, 4)])
    weight, x, y = torch.randn(3, 3, 3, 3), torch.randn(1, 3, 7, 7), torch.randn(1, 3, 4, 4)
    forward, back = down.forward([x], [weight])[0], up.forward([y], [weight])[0]
    assert torch.allclose((forward * y).sum(), (x * back).sum(), atol=1e-4)


@pytest.mark.parametrize("type", ["Convolution", "Deconvolution"])
def test_without_spatial_axes_it_is_a_matrix_product(type):
    settings = "convolution_param { num_output: 4 group: 2 kernel_size: 3 stride: 2 pad: 1 }"
    one, x = layer(type, settings, [(3, 2)]), torch.randn(3, 2)
    weight, bias = (torch.randn(blob.shape) for blob in one.params([(3, 2)]))
    matrix = torch.zeros(4, 2)
    for out in range(4):
        matrix[out, out // 2] = weight.reshape(-1)[out]
    torch.testing.assert_close(one.forward([x], [weight, bias])[0], x @ matrix.T + bias)


def test_bilinear_deconvolution_keeps_a_constant():
    settings = """convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 2 bias_term: false
                  weight_filler { type: "bilinear" } }"""
    top = net("Deconvolution", settings, [(1, 2, 5, 5)])(b0=torch.ones(1, 2, 5, 5))["t0"]
    assert torch.allclose(top[:, :, 2:-2, 2:-2], torch.ones(1, 2, 8, 8))


def test_coordinates_and_cost():
    settings = "convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 axis: %d }"
    one = layer("Deconvolution", settings % 1, SMALL)
    assert equal(one.coord_map(), coord_map(1, [2], [0.5]))
    assert one.reach() == (2, 2)
    assert one.macs(SMALL, [(2, 3, 10, 12)]) == 2 * 4 * 5 * 6 * 3 * 16
    assert layer("Deconvolution", settings % -3, SMALL).coord_map().axis is None
    assert equal(layer("Im2col", settings % 1, SMALL).coord_map(), coord_map(1, [0.5], [-0.25]))
