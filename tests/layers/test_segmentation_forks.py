"""Interp, Upsample, Unpooling, BN, SegAccuracy, CropCenter and the fields of SegNet, DeepLab, PSPNet and ENet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes
from small_nets import FILLERS, POOL, bn, conv, data, interp, loss, pool, relu, run, upsample

from netspec.errors import SpecError
from netspec.ir.coords import coord_map, equal
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.spec.text import parse

PLANE = [(2, 3, 5, 7)]
BAD = [
    ("Interp", "", PLANE, "give height and width, shrink_factor, zoom_factor or use_blob_size"),
    ("Interp", "interp_param { height: 3 }", PLANE, "give height and width, or neither"),
    ("Interp", "interp_param { height: 3 width: 0 }", PLANE, "width 0 must be at least 1"),
    ("Interp", "interp_param { zoom_factor: 0 }", PLANE, "zoom_factor 0 must be at least 1"),
    ("Interp", "interp_param { zoom_factor: 2 pad_beg: 1 }", PLANE, "pad_beg 1 must be 0 or less"),
    ("Interp", "interp_param { zoom_factor: 2 pad_beg: -3 pad_end: -2 }", PLANE, "padding leaves nothing"),
    ("Interp", "interp_param { zoom_factor: 2 }", [(2, 3, 5)], "bottoms must have four axes"),
    ("Interp", "interp_param { use_blob_size: true }", PLANE, "use_blob_size and a second bottom go together"),
    ("Interp", "interp_param { zoom_factor: 2 }", PLANE * 2, "use_blob_size and a second bottom go together"),
    ("Interp", 'interp_param { zoom_factor: 2 interp_type: "nearest_neighbor" }', PLANE, "interp_type 'nearest_neigh"),
    ("Upsample", "upsample_param { scale: 1 }", PLANE * 2, "scale [1, 1] must be at least 2"),
    ("Upsample", "upsample_param { scale_h: 2 }", PLANE * 2, "give both scale_h and scale_w"),
    ("Upsample", "upsample_param { scale: 2 scale_h: 2 scale_w: 2 }", PLANE * 2, "give scale, or both"),
    ("Upsample", "upsample_param { upsample_w: 9 }", PLANE * 2, "give both upsample_h and upsample_w"),
    ("Upsample", "upsample_param { upsample_h: 1 upsample_w: 9 }", PLANE * 2, "[1, 9] must be at least 2"),
    ("Upsample", "upsample_param { upsample_h: 9 upsample_w: 9 }", PLANE, "want a mask, a second bottom"),
    ("Upsample", "upsample_param { scale: 3 pad_out_h: true }", PLANE * 2, "pad_out_h and pad_out_w want scale 2"),
    ("Upsample", "upsample_param { pad_out_w: true }", PLANE, "pad_out_h and pad_out_w want a mask"),
    ("Upsample", "", [(2, 3, 5)], "must have four axes"),
    ("Upsample", "", [(2, 3, 5, 7), (2, 3, 7, 5)], "differ in shape"),
    ("Unpooling", "", PLANE, "kernel_size is missing"),
    ("Unpooling", "unpooling_param { kernel_size: 0 }", PLANE, "kernel_size must be at least 1"),
    ("Unpooling", "unpooling_param { kernel_size: 2 stride: 0 }", PLANE, "stride must be at least 1"),
    ("Unpooling", "unpooling_param { kernel_h: 2 }", PLANE, "give kernel_size, or both kernel_h and kernel_w"),
    ("Unpooling", "unpooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }", PLANE, "give kernel_size, or both"),
    ("Unpooling", "unpooling_param { kernel_size: 2 pad: 1 }", PLANE, "pad must be 0"),
    ("Unpooling", "unpooling_param { kernel_size: 2 unpool_size: 0 }", PLANE, "unpool_size must be at least 1"),
    ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 8 }", PLANE, "start beyond [8, 8]"),
    ("Unpooling", "unpooling_param { kernel_size: 2 }", [(2, 3, 5)], "must have four axes"),
    ("Unpooling", "unpooling_param { kernel_size: 2 }", [(2, 3, 5, 7), (2, 1, 5, 7)], "differ in shape"),
    ("BN", "bn_param { bn_mode: INFERENCE frozen: true }", PLANE, "bn_mode and frozen belong to different kinds"),
    ("BN", "bn_param { shift_filler {} bias_filler {} }", PLANE, "give shift_filler or bias_filler, not both"),
    ("BN", "bn_param { axis: 2 }", PLANE, "axis 2 is not supported"),
    ("BN", "", [(4,)], "must have at least two axes"),
    ("CropCenter", "crop_center_param { crop_size: 1 }", PLANE, "crop_size is given 1 time for the 4 axes"),
    ("CropCenter", "crop_center_param { crop_size: [0, 0, 1, 4] }", PLANE, "leaves nothing of bottom [2, 3, 5, 7]"),
    ("SegAccuracy", "", [(2, 3, 5, 7), (2, 1, 5, 6)], "must be N x C x H x W and N x 1 x H x W"),
    ("SegAccuracy", "seg_accuracy_param { output_label: 1 }", [(2, 3, 5, 7), (2, 1, 5, 7)], "has 1 top and takes 2"),
    (
        "Convolution",
        "convolution_param { num_output: 1 kernel_size: 1 hole: 2 dilation: 2 }",
        PLANE,
        "dilation or hole",
    ),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 hole: 0 }", PLANE, "dilation [0, 0] must be"),
    ("Pooling", "pooling_param { kernel_size: 2 ceil_mode: true round_mode: FLOOR }", PLANE, "contradict each other"),
    ("SpatialDropout", "spatial_dropout_param { dropout_ratio: 1 }", PLANE, "dropout_ratio 1 must be"),
    ("SpatialDropout", "", [(2, 3)], "must have at least three axes"),
    (
        "SoftmaxWithLoss",
        "loss_param { weight_by_label_freqs: true class_weighting: [1, 2] }",
        [(2, 3), (2,)],
        "class_weighting is given 2 times for 3 classes",
    ),
    ("MatRead", "", [], "MATLAB files are not supported"),
    ("MatWrite", 'mat_write_param { prefix: "x" }', PLANE, "MATLAB files are not supported"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


def test_more_refused():
    labels = [(2, 3, 5, 7), (2, 1, 5, 7)]
    refused(
        "SegAccuracy", "seg_accuracy_param { output_label: 3 }", labels, 2, "output_label 3 is outside the 3 classes"
    )
    refused("BN", "bn_param { bn_mode: INFERENCE }", PLANE, 2, "only bn_mode LEARN has tops for mean and variance")


INTERP = [
    ("height: 9 width: 4", (9, 4)),
    ("height: 1 width: 1", (1, 1)),
    ("height: 5 width: 7", (5, 7)),
    ("zoom_factor: 3", (13, 19)),
    ("shrink_factor: 2", (3, 4)),
    ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
    ("shrink_factor: 2 zoom_factor: 3 height: 4 width: 6", (4, 6)),
    ("zoom_factor: 2 pad_beg: -1 pad_end: -2", (3, 7)),
]


def interpolated(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with corners in place, cell by cell, as the docstring says."""
    h, w = x.shape
    out = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = i * (h - 1) / (size[0] - 1) if size[0] > 1 else 0.0
            z = j * (w - 1) / (size[1] - 1) if size[1] > 1 else 0.0
            a, b = min(int(y), h - 1), min(int(z), w - 1)
            c, d = min(a + 1, h - 1), min(b + 1, w - 1)
            p, q = y - a, z - b
            out[i, j] = (1 - p) * ((1 - q) * x[a, b] + q * x[a, d]) + p * ((1 - q) * x[c, b] + q * x[c, d])
    return out


@pytest.mark.parametrize(("settings", "size"), INTERP)
def test_interp(settings, size):
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    one = layer("Interp", f"interp_param {{ {settings} }}", PLANE)
    assert one.shapes(PLANE) == [(2, 3, *size)]
    begin, end = (1, 2) if "pad" in settings else (0, 0)
    cut = x[1, 2, begin : 5 - end, begin : 7 - end].numpy()
    assert np.allclose(one.forward([x], [])[0][1, 2], interpolated(cut, size))
    check_gradients("Interp", f"interp_param {{ {settings} }}", PLANE)


def test_interp_takes_a_blobs_size():
    settings = "interp_param { use_blob_size: true }"
    assert top_shapes("Interp", settings, [(2, 3, 5, 7), (1, 1, 9, 3)]) == [(2, 3, 9, 3)]
    check_gradients("Interp", settings, [(1, 2, 3, 4), (1, 1, 5, 3)], fixed=[np.zeros((1, 1, 5, 3))])


def test_interp_coordinates():
    assert equal(
        layer("Interp", "interp_param { zoom_factor: 4 pad_beg: -1 }", PLANE).coord_map(), coord_map(1, [4], [-4])
    )
    assert layer("Interp", "interp_param { height: 2 width: 2 }", PLANE).coord_map() is None


def pooled(x: torch.Tensor) -> list[torch.Tensor]:
    return layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", [tuple(x.shape)], 2).forward([x], [])


@pytest.mark.parametrize(
    ("size", "settings"),
    [((4, 6), ""), ((5, 6), "upsample_h: 5 upsample_w: 6"), ((5, 7), "pad_out_h: true pad_out_w: true")],
)
def test_upsample_puts_maxima_back(size, settings):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    top, mask = pooled(x)
    shapes = [tuple(top.shape), tuple(mask.shape)]
    one = layer("Upsample", f"upsample_param {{ {settings} }}", shapes)
    back = one.forward([top, mask], [])[0]
    assert back.shape == x.shape
    wanted = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*top.shape):
        wanted[n, c].flat[int(mask[n, c, i, j])] = top[n, c, i, j]
    assert np.array_equal(back, wanted)
    assert torch.equal(back[back != 0], x[back != 0])
    check_gradients("Upsample", f"upsample_param {{ {settings} }}", shapes, fixed=[mask])


def test_upsample_without_a_mask_repeats():
    x = torch.randn(2, 3, 2, 4)
    top = layer("Upsample", "upsample_param { scale_h: 2 scale_w: 3 }", [x.shape]).forward([x], [])[0]
    assert np.array_equal(top, np.kron(x.numpy(), np.ones((1, 1, 2, 3))))
    check_gradients("Upsample", "upsample_param { scale: 2 }", [(1, 2, 2, 3)])
    assert equal(layer("Upsample", "upsample_param { scale: 2 }", [x.shape]).coord_map(), coord_map(1, [2], [0.5]))


@pytest.mark.parametrize("type", ["Upsample", "Unpooling"])
def test_a_mask_that_points_outside(type):
    settings = "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 4 }" if type == "Unpooling" else ""
    mask = torch.tensor([0.0, 3, 8, 16]).reshape(1, 1, 2, 2)
    built = net(type, settings, [(1, 1, 2, 2)] * 2)
    with pytest.raises(SpecError, match="the mask points at cell 16 of a plane of 4 x 4"):
        built(b0=torch.ones(1, 1, 2, 2), b1=mask)
    with pytest.raises(SpecError, match="the mask points at cell -1 of a plane"):
        built(b0=torch.ones(1, 1, 2, 2), b1=-torch.ones(1, 1, 2, 2))


def unpooled(x: np.ndarray, method: str, k: tuple[int, int], s: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """One plane, window by window."""
    out = np.zeros(size)
    for i, j in np.ndindex(*x.shape):
        a, b = i * s[0], j * s[1]
        part = out[a : a + k[0], b : b + k[1]]
        if method == "MAX":
            part[0, 0] = x[i, j]
        else:
            part += x[i, j] / (part.size if method == "AVE" else 1)
    return out


@pytest.mark.parametrize("method", ["MAX", "AVE", "TILE"])
@pytest.mark.parametrize(
    ("settings", "k", "s", "size"),
    [
        ("kernel_size: 2 stride: 2 unpool_size: 8", (2, 2), (2, 2), (8, 8)),
        ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 unpool_h: 6 unpool_w: 4", (3, 2), (2, 1), (6, 4)),
        ("kernel_size: 3 stride: 2 unpool_h: 9 unpool_w: 8", (3, 3), (2, 2), (9, 8)),
        ("kernel_size: 3 stride: 2", (3, 3), (2, 2), (7, 9)),
        ("kernel_size: 1 stride: 3", (1, 1), (3, 3), (10, 13)),
    ],
)
def test_unpooling(method, settings, k, s, size):
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    settings = f"unpooling_param {{ unpool: {method} {settings} }}"
    one = layer("Unpooling", settings, [tuple(x.shape)])
    assert one.shapes([tuple(x.shape)]) == [(2, 2, *size)]
    assert np.allclose(one.forward([x], [])[0][1, 0], unpooled(x[1, 0].numpy(), method, k, s, size))
    check_gradients("Unpooling", settings, [(1, 2, 3, 4)])


def test_unpooling_with_a_mask():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    top, mask = pooled(x)
    settings = "unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 6 }"
    one = layer("Unpooling", settings, [tuple(top.shape)] * 2)
    back = one.forward([top, mask], [])[0]
    assert (back != 0).sum() == top.numel() and torch.equal(back[back != 0], x[back != 0])
    check_gradients("Unpooling", settings, [tuple(top.shape)] * 2, fixed=[mask])
    assert equal(one.coord_map(), coord_map(1, [2], [0.5]))


def normalised(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    return (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + eps)


def test_bn_of_segnet():
    x = torch.randn(4, 3, 5, 7, dtype=torch.float64) * 3 + 1
    scale, shift = torch.tensor([1.0, 2, -1]).double(), torch.tensor([0.0, 1, 5]).double()
    blobs = [scale.reshape(1, 3, 1, 1), shift.reshape(1, 3, 1, 1)]
    mean, variance = x.numpy().mean((0, 2, 3)), x.numpy().var((0, 2, 3))
    wanted = normalised(x.numpy(), mean, variance, 1e-9) * blobs[0].numpy() + blobs[1].numpy()
    for phase in ("TRAIN", "TEST"):
        tops = layer("BN", "", [x.shape], 3, phase).forward([x], blobs)
        assert np.allclose(tops[0], wanted)
        assert np.allclose(tops[1].flatten(), mean) and np.allclose(tops[2].flatten(), variance)
        assert tops[1].shape == tops[2].shape == (1, 3, 1, 1)
    plain = layer("BN", "bn_param { bn_mode: INFERENCE }", [x.shape], phase="TRAIN").forward([x], blobs)[0]
    assert np.allclose(plain, (x * blobs[0] + blobs[1]).numpy())


def test_bn_of_segnet_declares_two_blobs():
    fillers = 'bn_param { scale_filler { type: "constant" value: 1 } shift_filler { type: "constant" value: 0.001 } }'
    built = net("BN", fillers, PLANE)
    assert {name: list(p.shape) for name, p in built.named_parameters()} == {
        "one.scale": [1, 3, 1, 1],
        "one.shift": [1, 3, 1, 1],
    }
    assert built.get_parameter("one.shift").flatten().tolist() == pytest.approx([0.001] * 3)


@pytest.mark.parametrize(
    ("settings", "keep", "eps", "test_stored"),
    [
        ("slope_filler { value: 1 } bias_filler { } momentum: 0.8 eps: 0.01", 0.8, 0.01, True),
        ("momentum: 0.95", 0.95, 1e-5, True),
        ("decay: 0.3 moving_average: true", 0.7, 1e-10, True),
        ("var_eps: 0.1", 0.95, 0.1, False),
    ],
)
def test_bn_of_pspnet(settings, keep, eps, test_stored):
    x = torch.randn(4, 3, 5, 7) * 2 + 1
    settings = f"bn_param {{ {settings} }}"
    built = net("BN", settings, [x.shape], phase="TRAIN")
    scale, shift, mean, variance = built.steps[-1].params()
    assert mean.flatten().tolist() == [0.0] * 3 and variance.flatten().tolist() == [1.0] * 3
    assert not mean.requires_grad and not variance.requires_grad and scale.requires_grad and shift.requires_grad
    top = built(b0=x)["t0"]
    batch = x.numpy().mean((0, 2, 3)), x.numpy().var((0, 2, 3))
    assert np.allclose(top.detach(), normalised(x.numpy(), *batch, eps), atol=1e-4)
    assert np.allclose(mean.flatten(), (1 - keep) * batch[0], atol=1e-5)
    assert np.allclose(variance.flatten(), keep + (1 - keep) * batch[1], atol=1e-5)
    test = net("BN", settings, [x.shape], phase="TEST")
    test.load_state_dict(built.state_dict())
    used = (mean.detach().flatten().numpy(), variance.detach().flatten().numpy()) if test_stored else batch
    assert np.allclose(test(b0=x)["t0"].detach(), normalised(x.numpy(), *used, eps), atol=1e-4)


def test_frozen_bn_learns_nothing():
    x = torch.randn(4, 3, 5, 7)
    built = net("BN", "bn_param { frozen: true }", [x.shape], phase="TRAIN")
    assert not any(p.requires_grad for p in built.parameters())
    with torch.no_grad():
        built.get_parameter("one.mean").fill_(2)
        built.get_parameter("one.variance").fill_(4)
        built.get_parameter("one.scale").fill_(3)
    assert torch.allclose(built(b0=x)["t0"], 3 * (x - 2) / 2, atol=1e-4)
    assert built.get_parameter("one.mean").flatten().tolist() == [2.0] * 3


def test_bn_with_four_params_stores():
    built = net("BN", "param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 0 } param { lr_mult: 0 }", PLANE)
    assert len(list(built.parameters())) == 4


@pytest.mark.parametrize("settings", ["", "bn_mode: INFERENCE", "momentum: 0.9"])
def test_bn_gradients(settings):
    check_gradients("BN", f"bn_param {{ {settings} }}", [(3, 2, 2, 3)], phase="TRAIN")


def test_seg_accuracy():
    scores, labels = torch.randn(2, 4, 5, 6), torch.randint(0, 3, (2, 1, 5, 6)).float()
    labels[0, 0, :2] = 255
    labels[1, 0, 0] = -1
    settings = "seg_accuracy_param { ignore_label: 255 ignore_label: -1 output_label: 0 output_label: 3 }"
    tops = layer("SegAccuracy", settings, [scores.shape, labels.shape], 3).forward([scores, labels], [])
    m = np.zeros((4, 4))
    guess = scores.numpy().argmax(1)
    for n, i, j in np.ndindex(2, 5, 6):
        label = int(labels[n, 0, i, j])
        if label not in (255, -1):
            m[label, guess[n, i, j]] += 1
    hits, there, found = np.diag(m), m.sum(1), m.sum(0)
    iu = hits / (there + found - hits)
    wanted = [hits.sum() / m.sum(), (hits[:3] / there[:3]).mean(), iu.mean()]
    assert np.allclose(tops[0].flatten(), wanted)
    assert np.allclose(tops[1].flatten(), [hits[0] / found[0], hits[0] / there[0], iu[0]])
    assert np.allclose(tops[2].flatten(), [0, 0, 0])
    assert all(top.shape == (1, 1, 1, 3) for top in tops)


def test_seg_accuracy_of_one_channel_and_of_what_is_absent():
    scores = torch.tensor([0.2, 0.6, 0.5, 0.9]).reshape(1, 1, 2, 2)
    labels = torch.tensor([0.0, 1, 1, 1]).reshape(1, 1, 2, 2)
    top = layer("SegAccuracy", "", [(1, 1, 2, 2)] * 2).forward([scores, labels], [])[0]
    assert np.allclose(top.flatten(), [3 / 4, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    scores = torch.tensor([0.0, 1, 0]).reshape(1, 3, 1, 1)
    top = layer("SegAccuracy", "", [(1, 3, 1, 1), (1, 1, 1, 1)]).forward([scores, torch.ones(1, 1, 1, 1)], [])[0]
    assert top.flatten().tolist() == [1, 1, 1]
    with pytest.raises(SpecError, match="label 3 is outside the 3 classes 0 to 2"):
        layer("SegAccuracy", "", [(1, 3, 1, 1), (1, 1, 1, 1)]).forward([scores, torch.full((1, 1, 1, 1), 3.0)], [])


def test_crop_center():
    x = torch.randn(2, 3, 6, 7)
    one = layer("CropCenter", "crop_center_param { crop_size: [0, 1, 2, 3] }", [x.shape])
    assert one.shapes([tuple(x.shape)]) == [(2, 1, 2, 1)]
    assert torch.equal(one.forward([x], [])[0], x[:, 1:2, 2:4, 3:4])
    assert equal(one.coord_map(), coord_map(1, [1, 1], [-2, -3]))
    check_gradients("CropCenter", "crop_center_param { crop_size: [0, 0, 1, 1] }", [(1, 2, 3, 4)])


def test_hole_is_dilation():
    x, w = torch.randn(1, 2, 9, 11), torch.randn(3, 2, 3, 3)
    tops = [
        layer("Convolution", f"convolution_param {{ num_output: 3 kernel_size: 3 bias_term: false {name} }}", [x.shape])
        for name in ("hole: 2", "dilation: 2", "hole_h: 3", "dilation: [3, 1]")
    ]
    values = [one.forward([x], [w])[0] for one in tops]
    assert torch.equal(values[0], values[1]) and torch.equal(values[2], values[3])
    assert values[0].shape == (1, 3, 5, 7) and values[2].shape == (1, 3, 3, 9)
    assert tops[0].reach() == (5, 5) and tops[2].reach() == (7, 3)


def test_ceil_mode():
    for settings, cells in (("ceil_mode: false", 3), ("ceil_mode: true", 4), ("", 4), ("round_mode: FLOOR", 3)):
        shapes = top_shapes("Pooling", f"pooling_param {{ kernel_size: 2 stride: 2 {settings} }}", [(1, 1, 7, 7)])
        assert shapes == [(1, 1, cells, cells)]


@pytest.mark.parametrize("weighting", ["", "class_weighting: [0.5, 2, 3]"])
def test_weighted_softmax_loss(weighting):
    scores = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 1, 4, 5)).double()
    labels[0, 0, 0] = 11
    settings = f"loss_param {{ weight_by_label_freqs: true ignore_label: 11 {weighting} }}"
    one = layer("SoftmaxWithLoss", settings, [scores.shape, labels.shape])
    loss = one.forward([scores, labels], [])[0]
    kept = labels[:, 0][labels[:, 0] != 11].long()
    counts = np.bincount(kept, minlength=3)
    weights = np.array([0.5, 2, 3]) if weighting else 1 / counts
    log_p = torch.log_softmax(scores, 1).permute(0, 2, 3, 1)[labels[:, 0] != 11].detach().numpy()
    wanted = -(log_p[np.arange(len(kept)), kept] * weights[kept]).sum() / len(kept)
    assert loss.item() == pytest.approx(wanted, rel=1e-6)
    assert torch.autograd.gradcheck(lambda s: one.forward([s, labels], [])[0], [scores], atol=1e-6, rtol=1e-3)


def test_equal_weights_are_none():
    scores, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 1, 4, 5)).float()
    shapes = [scores.shape, labels.shape]
    plain = layer("SoftmaxWithLoss", "", shapes).forward([scores, labels], [])[0]
    settings = "loss_param { weight_by_label_freqs: true class_weighting: [1, 1, 1] }"
    assert layer("SoftmaxWithLoss", settings, shapes).forward([scores, labels], [])[0] == pytest.approx(plain)


def test_spatial_dropout():
    x = torch.ones(40, 50, 3, 2)
    drops = layer("SpatialDropout", "spatial_dropout_param { dropout_ratio: 0.25 }", [x.shape], phase="TRAIN")
    top = drops.forward([x], [])[0]
    assert torch.equal(top, top[:, :, :1, :1].expand_as(top))
    assert top.unique().tolist() == pytest.approx([0, 4 / 3])
    assert abs((top == 0).float().mean() - 0.25) < 0.05
    assert torch.equal(layer("SpatialDropout", "", [x.shape]).forward([x], [])[0], x)


def test_sampling_dropout_in_test():
    x = torch.ones(1000)
    one = layer("Dropout", "dropout_param { sample_weights_test: true }", [x.shape])
    assert 400 < (one.forward([x], [])[0] == 0).sum() < 600
    assert torch.equal(layer("Dropout", "", [x.shape]).forward([x], [])[0], x)


def segnet(mode: str, end: str) -> str:
    encoder = conv("c1", "data", 8) + bn("c1", mode) + relu("c1") + POOL.format("p1", "c1")
    encoder += conv("c2", "p1", 8) + bn("c2", mode) + relu("c2") + POOL.format("p2", "c2")
    decoder = upsample("u2", "p2", "p2", "scale: 2") + conv("d2", "u2", 8) + bn("d2", mode)
    decoder += upsample("u1", "d2", "p1", "upsample_h: 16 upsample_w: 20") + conv("scores", "u1", 3)
    return data("2 3 16 20") + encoder + decoder + end


def test_segnet():
    weights = "weight_by_label_freqs: true ignore_label: 11 class_weighting: [0.3, 2, 1]"
    run(segnet(FILLERS, data("2 1 16 20", "label") + loss("scores", weights)), "TRAIN")
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "scores" top: "prob" }'
    built = run(segnet("bn_mode: INFERENCE", softmax))
    assert built.blob_shapes[built.blob("prob")] == (2, 3, 16, 20)


def test_deconvnet():
    text = (
        data("1 3 8 8") + conv("c1", "data", 6) + bn("c1", "bn_mode: INFERENCE") + relu("c1") + POOL.format("p1", "c1")
    )
    text += conv("fc", "p1", 12, "kernel_size: 4") + 'layer { name: "d" type: "Deconvolution" bottom: "fc" top: "d" '
    text += "convolution_param { num_output: 6 kernel_size: 4 } }\n"
    text += 'layer { name: "un" type: "Unpooling" bottom: "d" bottom: "p1_mask" top: "un" '
    text += "unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 8 } }\n" + conv("scores", "un", 3)
    assert run(text).blob_shapes[run(text).blob("scores")] == (1, 3, 8, 8)


def test_deeplab():
    body = data("2 3 17 17") + conv("c1", "data", 6) + relu("c1")
    body += pool("p1", "c1", "kernel_size: 3 stride: 2 pad: 1")
    body += (
        conv("c2", "p1", 6, "kernel_size: 3 pad: 2 hole: 2") + relu("c2") + conv("scores", "c2", 3, "kernel_size: 1")
    )
    labelled = body + data("2 1 17 17", "label") + interp("l", "label", "shrink_factor: 2")
    run(labelled + loss("scores", "ignore_label: 255", "l"), "TRAIN")
    accuracy = 'layer { name: "acc" type: "SegAccuracy" bottom: "scores" bottom: "l" top: "acc" '
    run(labelled + accuracy + "seg_accuracy_param { ignore_label: 255 } }")
    crf = 'layer { name: "crf" type: "DenseCRF" bottom: "up" bottom: "data_dim" bottom: "data" top: "crf" '
    crf += "dense_crf_param { max_iter: 2 pos_xy_std: 3 pos_w: 3 bi_xy_std: 30 bi_rgb_std: 0.5 bi_w: 4 } }"
    zoomed = body + interp("up", "scores", "zoom_factor: 2") + data("2 1 1 2", "data_dim")
    built = Net(lower(parse(zoomed + crf)))
    sizes = torch.tensor([[17.0, 17], [12, 15]]).reshape(2, 1, 1, 2)
    top = built(data=torch.rand(2, 3, 17, 17), data_dim=sizes)["crf"]
    assert torch.allclose(top[0].sum(0), torch.ones(17, 17))
    assert torch.allclose(top[1, :, :12, :15].sum(0), torch.ones(12, 15))
    assert not top[1, :, 12:].any() and not top[1, :, :, 15:].any()


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_pspnet(phase):
    slope = 'slope_filler { type: "constant" value: 1 } bias_filler { type: "constant" value: 0 } momentum: 0.95'
    slope += " frozen: false" if phase == "TRAIN" else " frozen: true"
    text = data("2 3 24 24") + conv("c1", "data", 6, "kernel_size: 3 stride: 2 pad: 1") + bn("c1", slope) + relu("c1")
    text += conv("c2", "c1", 8, "kernel_size: 3 dilation: 2 pad: 2") + bn("c2", slope) + relu("c2")
    bottoms = 'bottom: "c2"'
    for k in (12, 6, 4):
        text += pool(f"p{k}", "c2", f"pool: AVE kernel_size: {k} stride: {k}")
        text += conv(f"r{k}", f"p{k}", 2, "kernel_size: 1") + bn(f"r{k}", slope)
        text += interp(f"i{k}", f"r{k}", "height: 12 width: 12")
        bottoms += f' bottom: "i{k}"'
    text += f'layer {{ name: "cat" type: "Concat" {bottoms} top: "cat" }}\n' + conv("scores", "cat", 3)
    text += interp("up", "scores", "height: 24 width: 24")
    if phase == "TRAIN":
        text += data("2 1 24 24", "label") + loss("up", "ignore_label: 255")
    assert run(text, phase).blob_shapes[run(text, phase).blob("up")] == (2, 3, 24, 24)


def test_enet():
    prelu = 'layer {{ name: "prelu_{0}" type: "PReLU" bottom: "{0}" top: "{0}" }}\n'
    text = data("2 3 16 16") + conv("init", "data", 5, "kernel_size: 3 pad: 1 stride: 2")
    text += pool("p0", "data", "kernel_size: 2 stride: 2")
    text += 'layer { name: "cat" type: "Concat" bottom: "init" bottom: "p0" top: "cat" }\n' + bn("cat", FILLERS)
    text += prelu.format("cat") + POOL.format("p1", "cat") + conv("b1", "p1", 8, "kernel_h: 5 kernel_w: 1 pad_h: 2")
    text += 'layer { name: "drop" type: "SpatialDropout" bottom: "b1" top: "b1" '
    text += "spatial_dropout_param { dropout_ratio: 0.1 } }\n"
    text += 'layer { name: "sum" type: "Eltwise" bottom: "b1" bottom: "p1" top: "sum" }\n' + prelu.format("sum")
    text += upsample("up", "sum", "p1", "scale: 2")
    text += 'layer { name: "scores" type: "Deconvolution" bottom: "up" top: "scores" '
    text += 'convolution_param { num_output: 3 kernel_size: 2 stride: 2 weight_filler { type: "msra" } } }\n'
    run(text + data("2 1 16 16", "label") + loss("scores"), "TRAIN")
    run(text)


def test_deconvnet_in_v1():
    text = 'name: "old" input: "data" input_dim: [1, 3, 8, 8]'
    text += ' layers { bottom: "data" top: "c" name: "c" type: CONVOLUTION '
    text += "convolution_param { num_output: 2 kernel_size: 1 } }"
    text += ' layers { bottom: "c" top: "c" name: "bn" type: BN bn_param { bn_mode: INFERENCE } }'
    text += ' layers { bottom: "c" top: "p" top: "m" name: "p" type: POOLING '
    text += "pooling_param { kernel_size: 2 stride: 2 } }"
    text += ' layers { bottom: "p" bottom: "m" top: "u" name: "u" type: UNPOOLING '
    text += "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 8 } }"
    text += ' layers { bottom: "u" top: "i" name: "i" type: INTERP interp_param { zoom_factor: 2 } }'
    built = run(text)
    assert [step.spec.type for step in built.steps][1:] == ["Convolution", "BN", "Pooling", "Unpooling", "Interp"]
    assert built.blob_shapes[built.blob("i")] == (1, 2, 15, 15)


def test_crf_rnn_in_v1():
    text = 'name: "old" input: "data" input_dim: [1, 3, 6, 7]'
    text += ' layers { bottom: "data" top: "s" name: "s" type: CONVOLUTION '
    text += "convolution_param { num_output: 2 kernel_size: 1 } }"
    text += ' layers { name: "q" type: SPLIT bottom: "s" top: "unary" top: "q0" }'
    text += ' layers { name: "crf" type: MULTI_STAGE_MEANFIELD bottom: "unary" bottom: "q0" bottom: "data" top: "pred" '
    text += "blobs_lr: [10000, 10000, 1000] multi_stage_meanfield_param { num_iterations: 2 threshold: 2 "
    text += "theta_alpha: 160 theta_beta: 3 theta_gamma: 3 spatial_filter_weight: 3 bilateral_filter_weight: 5 } }"
    built = run(text)
    assert built.blob_shapes[built.blob("pred")] == (1, 2, 6, 7)
    assert [p.lr_mult for p in built.graph.layers[-1].proto.param] == [10000, 10000, 1000]
