"""Depthwise convolution, Axpy, ReLU6, ShuffleChannel, SeLu: MobileNet, ShuffleNet, SENet, self-normalising nets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes
from small_nets import conv, data, loss, relu, run

from netspec.ir.coords import coord_map, equal

PLANE = [(2, 4, 5, 7)]
BAD = [
    ("ConvolutionDepthwise", "", PLANE, "kernel_size is missing"),
    ("ConvolutionDepthwise", "convolution_param { kernel_size: 3 }", [(2, 4, 5)], "must have four axes"),
    ("ConvolutionDepthwise", "convolution_param { kernel_size: 3 axis: 2 }", PLANE, "axis 2 is not supported"),
    ("ConvolutionDepthwise", "convolution_param { kernel_size: 9 }", PLANE, "kernel [9, 9] does not fit"),
    ("DepthwiseConvolution", "convolution_param { num_output: 4 kernel_size: 3 }", PLANE, "group 1 must be the bottom"),
    ("DepthwiseConvolution", "convolution_param { kernel_size: 3 group: 4 }", PLANE, "num_output is missing or 0"),
    ("Axpy", "", [(2, 4), (2, 4, 5), (2, 4, 6)], "bottoms [2, 4, 5] and [2, 4, 6] differ in shape"),
    ("Axpy", "", [(2, 3), (2, 4, 5), (2, 4, 5)], "bottom 0 [2, 3] must hold one value per image and channel"),
    ("Axpy", "", [(2, 4, 5), (2, 4, 5), (2, 4, 5)], "must hold one value per image and channel"),
    ("Axpy", "", [(2, 4), (2, 4, 5)], "has 2 bottoms and takes 3"),
    ("ReLU6", "relu6_param { negative_slope: 0.1 }", PLANE, "negative_slope is not supported"),
    ("ShuffleChannel", "shuffle_channel_param { group: 0 }", PLANE, "group must be at least 1"),
    ("ShuffleChannel", "shuffle_channel_param { group: 3 }", PLANE, "group 3 does not divide the channels"),
    ("ShuffleChannel", "", [(4,)], "does not divide the channels of bottom [4]"),
    ("SeLuDropout", "selu_dropout_param { dropout_ratio: 1 }", PLANE, "dropout_ratio 1 must be at least 0"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


@pytest.mark.parametrize(
    ("type", "more"), [("ConvolutionDepthwise", "num_output: 7"), ("DepthwiseConvolution", "num_output: 4 group: 4")]
)
def test_depthwise(type, more):
    x, w, b = torch.randn(2, 4, 5, 7), torch.randn(4, 1, 3, 2), torch.randn(4)
    settings = f"convolution_param {{ {more} kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 dilation: [1, 2] }}"
    one = layer(type, settings, [x.shape])
    assert [blob.shape for blob in one.params([tuple(x.shape)])] == [(4, 1, 3, 2), (4,)]
    top = one.forward([x], [w, b])[0]
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = np.zeros((2, 4, 3, 4))
    for n, c, i, j in np.ndindex(*wanted.shape):
        window = padded[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3 : 2]
        wanted[n, c, i, j] = (window * w[c, 0].numpy()).sum() + b[c].item()
    assert np.allclose(top, wanted, atol=1e-5)
    assert equal(one.coord_map(), coord_map(1, [0.5, 0.5], [0, 0]))
    small = f"convolution_param {{ {more.replace('4', '2')} kernel_size: 2 stride: 2 pad: 1 }}"
    check_gradients(type, small, [(1, 2, 3, 2)])


def test_depthwise_of_other_counts():
    settings = "convolution_param { num_output: 8 group: 4 kernel_size: 3 bias_term: false }"
    assert top_shapes("DepthwiseConvolution", settings, PLANE) == [(2, 8, 3, 5)]
    assert top_shapes("ConvolutionDepthwise", settings, PLANE) == [(2, 4, 3, 5)]
    assert len(layer("ConvolutionDepthwise", settings, PLANE).params(PLANE)) == 1
    assert layer("ConvolutionDepthwise", settings, PLANE).macs(PLANE, [(2, 4, 3, 5)]) == 2 * 4 * 3 * 5 * 9


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy(shape):
    a, x, y = torch.randn(shape), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    top = layer("Axpy", "", [shape, x.shape, y.shape]).forward([a, x, y], [])[0]
    for n, c in np.ndindex(2, 3):
        assert np.allclose(top[n, c], a.reshape(2, 3)[n, c].item() * x[n, c].numpy() + y[n, c].numpy(), atol=1e-6)
    check_gradients("Axpy", "", [shape, (2, 3, 2, 2), (2, 3, 2, 2)])


def test_relu6():
    x = torch.tensor([-1.0, 0, 3, 6, 7], requires_grad=True)
    top = layer("ReLU6", "", [(5,)]).forward([x], [])[0]
    top.sum().backward()
    assert top.tolist() == [0, 0, 3, 6, 6] and x.grad.tolist() == [0, 0, 1, 0, 0]
    check_gradients("ReLU6", "", [(3, 4)])


def test_shuffle_channel():
    x = torch.arange(12.0).reshape(1, 6, 2).repeat(2, 1, 1)
    top = layer("ShuffleChannel", "shuffle_channel_param { group: 2 }", [x.shape]).forward([x], [])[0]
    assert (top[0, :, 0] / 2).tolist() == [0, 3, 1, 4, 2, 5]
    x = torch.randn(2, 12, 3, 2)
    top = layer("ShuffleChannel", "shuffle_channel_param { group: 3 }", [x.shape]).forward([x], [])[0]
    for g, i in np.ndindex(3, 4):
        assert torch.equal(top[:, i * 3 + g], x[:, g * 4 + i])
    for group in (1, 12):
        one = layer("ShuffleChannel", f"shuffle_channel_param {{ group: {group} }}", [x.shape])
        same = one.forward([x], [])[0]
        assert torch.equal(same, x) and same.data_ptr() != x.data_ptr()
    check_gradients("ShuffleChannel", "shuffle_channel_param { group: 2 }", [(2, 4, 2, 3)])


@pytest.mark.parametrize(("settings", "factor", "alpha"), [("", 1.050700987, 1.67326324), ("lambda: 2 alpha: 3", 2, 3)])
def test_selu(settings, factor, alpha):
    x = torch.tensor([-200.0, -1, -0.0, 0, 0.5, 200])
    top = layer("SeLu", f"selu_param {{ {settings} }}", [x.shape]).forward([x], [])[0]
    v = x.double().numpy()
    assert np.allclose(top, factor * np.where(v > 0, v, alpha * (np.exp(np.minimum(v, 0)) - 1)))
    check_gradients("SeLu", f"selu_param {{ {settings} }}", [(3, 4)])


def test_selu_gradient_at_the_ends():
    x = torch.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    layer("SeLu", "selu_param { lambda: 2 alpha: 3 }", [(3,)]).forward([x], [])[0].sum().backward()
    assert x.grad.tolist() == [0, 6, 2]


def test_selu_dropout_keeps_mean_and_variance():
    x = torch.randn(200000)
    one = layer("SeLuDropout", "selu_dropout_param { dropout_ratio: 0.2 }", [x.shape], phase="TRAIN")
    top = one.forward([x], [])[0]
    assert abs(top.mean()) < 0.02 and abs(top.var() - 1) < 0.02
    dropped = top.mode().values
    assert abs((top == dropped).float().mean() - 0.2) < 0.01
    a = (0.8 * (1 + 1.75809934**2 * 0.2)) ** -0.5
    assert dropped.item() == pytest.approx(a * -1.75809934 + a * 0.2 * 1.75809934, rel=1e-5)
    assert torch.allclose(top[top != dropped], a * x[top != dropped] + a * 0.2 * 1.75809934, atol=1e-5)
    assert torch.equal(layer("SeLuDropout", "", [x.shape]).forward([x], [])[0], x)


def test_selu_dropout_gradient():
    x = torch.randn(1000, requires_grad=True)
    top = layer("SeLuDropout", "", [x.shape], phase="TRAIN").forward([x], [])[0]
    top.sum().backward()
    a = (0.9 * (1 + 1.75809934**2 * 0.1)) ** -0.5
    assert torch.allclose(x.grad, torch.where(top == top.detach().mode().values, 0.0, a), atol=1e-5)


def batch_norm(blob: str) -> str:
    return (
        f'layer {{ name: "{blob}_bn" type: "BatchNorm" bottom: "{blob}" top: "{blob}" }}\n'
        f'layer {{ name: "{blob}_scale" type: "Scale" bottom: "{blob}" top: "{blob}" '
        "scale_param { bias_term: true } }\n"
    )


def simple(type: str, name: str, bottoms: str, settings: str = "") -> str:
    ends = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{type}" {ends} top: "{name}" {settings} }}\n'


def head(bottom: str) -> str:
    pool = simple("Pooling", "pool", bottom, "pooling_param { pool: AVE global_pooling: true }")
    return pool + simple("InnerProduct", "fc", "pool", "inner_product_param { num_output: 3 }") + LOSS


LOSS = data("2", "label") + loss("fc")


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("depthwise", "settings"),
    [("ConvolutionDepthwise", ""), ("DepthwiseConvolution", "group: 8"), ("Convolution", "group: 8 engine: CAFFE")],
)
def test_mobilenet(depthwise, settings, phase):
    text = data("2 3 16 16") + conv("c1", "data", 8, "kernel_size: 3 stride: 2 pad: 1 bias_term: false")
    text += batch_norm("c1") + relu("c1").replace('"ReLU"', '"ReLU6"')
    filler = 'bias_term: false weight_filler { type: "msra" }'
    text += simple(
        depthwise, "dw", "c1", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {settings} {filler} }}"
    )
    text += batch_norm("dw") + relu("dw") + conv("sep", "dw", 12, "kernel_size: 1 bias_term: false")
    run(text + batch_norm("sep") + relu("sep") + head("sep"), phase)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_shufflenet(phase):
    text = data("2 3 16 16") + conv("c1", "data", 8, "kernel_size: 3 stride: 2 pad: 1") + batch_norm("c1") + relu("c1")
    text += conv("r1", "c1", 4, "kernel_size: 1 group: 2") + batch_norm("r1") + relu("r1")
    text += simple("ShuffleChannel", "shuffle", "r1", "shuffle_channel_param { group: 2 }")
    text += simple("ConvolutionDepthwise", "dw", "shuffle", "convolution_param { kernel_size: 3 pad: 1 }")
    text += batch_norm("dw") + conv("r2", "dw", 8, "kernel_size: 1 group: 2") + simple("Eltwise", "sum", "c1 r2")
    run(text + relu("sum") + head("sum"), phase)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_senet(phase):
    text = data("2 3 12 12") + conv("c1", "data", 8) + batch_norm("c1") + relu("c1") + conv("c2", "c1", 8)
    text += simple("Pooling", "squeeze", "c2", "pooling_param { pool: AVE global_pooling: true }")
    text += conv("down", "squeeze", 2, "kernel_size: 1") + relu("down") + conv("up", "down", 8, "kernel_size: 1")
    text += simple("Sigmoid", "gate", "up") + simple("Axpy", "out", "gate c2 c1")
    run(text + relu("out") + head("out"), phase)


def test_self_normalising_net():
    text = data("4 16") + simple("InnerProduct", "ip", "data", "inner_product_param { num_output: 8 }")
    text += simple("SeLu", "selu", "ip") + simple("SeLuDropout", "drop", "selu")
    text += simple("InnerProduct", "fc", "drop", "inner_product_param { num_output: 3 }")
    run(text + data("4", "label") + loss("fc"), "TRAIN")


def test_a_batch_of_one_and_of_several_agree():
    built = net("ConvolutionDepthwise", 'convolution_param { kernel_size: 3 weight_filler { type: "msra" } }', PLANE)
    x = torch.randn(2, 4, 5, 7)
    assert torch.allclose(built(b0=x)["t0"][1:], built(b0=x[1:])["t0"], atol=1e-6)
