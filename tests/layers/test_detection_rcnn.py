"""Layers of Fast and Faster R-CNN and R-FCN against plain loops: region pooling, losses, mining, Python layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.layers.proposals import anchors
from netspec.layers.python_rcnn import read_settings
from netspec.net import Net
from netspec.spec.text import parse

ROI = "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }"
PSROI = "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }"
MAPS = [(2, 3, 8, 9), (4, 5)]
BAD = [
    ("ROIPooling", "", MAPS, 1, "pooled_h must be at least 1"),
    ("ROIPooling", "roi_pooling_param { pooled_h: 2 }", MAPS, 1, "pooled_w must be at least 1"),
    ("ROIPooling", "roi_pooling_param { pooled_size: 2 }", MAPS, 1, "pooled_size is given 1 time"),
    ("ROIPooling", ROI, [(2, 3, 8), (4, 5)], 1, "must have four axes"),
    ("ROIPooling", ROI, [(2, 3, 8, 9), (4, 4)], 1, "must hold rows of five"),
    ("PSROIPooling", "", MAPS, 1, "spatial_scale 0 must be given and positive"),
    ("PSROIPooling", PSROI, MAPS, 1, "must have output_dim · group_size² = 18 channels"),
    ("SmoothL1Loss", "", [(2, 3), (2, 4)], 1, "differ in shape"),
    ("SmoothL1Loss", "", [(2, 3), (2, 3), (2, 4)], 1, "bottoms 0 and 2, [2, 3] and [2, 4], differ in shape"),
    ("SmoothL1Loss", "smooth_l1_loss_param { sigma: 0 }", [(2, 3), (2, 3)], 1, "sigma 0 must be above 0"),
    ("SmoothL1Loss", "", [(2, 3)] * 5, 1, "has 5 bottoms and takes 2 to 4"),
    ("SmoothL1LossOHEM", "", [(2,), (2,)], 1, "must have channels"),
    ("L1Loss", "", [(2, 3), (2, 4)], 1, "differ in shape"),
    ("L1Loss", "", [(2, 3)] * 3, 1, "has 3 bottoms and takes 2"),
    ("SoftmaxWithLossOHEM", "", [(2, 3), (3,)], 1, "has 3 labels for the 2 places"),
    ("BoxAnnotatorOHEM", "", [(4, 5), (4,), (4,), (4, 8)], 2, "roi_per_img is missing or 0"),
    (
        "BoxAnnotatorOHEM",
        "box_annotator_ohem_param { roi_per_img: 2 }",
        [(4, 4), (4,), (4,), (4, 8)],
        2,
        "rows of five",
    ),
    ("BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 2 }", [(4, 5), (3,), (4,), (4, 8)], 2, "one value"),
    (
        "BoxAnnotatorOHEM",
        "box_annotator_ohem_param { roi_per_img: 2 }",
        [(4, 5), (4,), (4,), (3, 8)],
        2,
        "weights of 4",
    ),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type, settings, shapes, tops, message):
    refused(type, settings, shapes, tops, message)


def c_round(x):
    return math.copysign(math.floor(abs(x) + 0.5), x)


def roi_loop(x, rois, grid, scale):
    """Cell by cell, in single precision."""
    f = np.float32
    out = np.zeros((len(rois), x.shape[1], *grid))
    for r, (image, *corner) in enumerate(rois):
        x1, y1, x2, y2 = (int(c_round(f(c) * f(scale))) for c in corner)
        h, w = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i in range(grid[0]):
            for j in range(grid[1]):
                step_h, step_w = f(h) / f(grid[0]), f(w) / f(grid[1])
                top, bottom = int(np.floor(f(i) * step_h)) + y1, int(np.ceil(f(i + 1) * step_h)) + y1
                left, right = int(np.floor(f(j) * step_w)) + x1, int(np.ceil(f(j + 1) * step_w)) + x1
                part = x[int(image), :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
                if part.size:
                    out[r, :, i, j] = part.max((1, 2))
    return out


ROIS = np.array(
    [[0, 0, 0, 15, 13], [1, 3, 4, 9, 5], [1, -7, 2, 30, 25], [0, 6, 6, 6, 6], [0, 9, 3, 4, 2], [1, 40, 40, 50, 50]],
    float,
)


def test_roi_pooling():
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 9))
    for grid, scale in [((3, 2), 0.5), ((7, 7), 0.5), ((2, 5), 1 / 3)]:
        settings = f"roi_pooling_param {{ pooled_h: {grid[0]} pooled_w: {grid[1]} spatial_scale: {scale} }}"
        one = layer("ROIPooling", settings, [x.shape, ROIS.shape])
        top = one.forward([torch.tensor(x), torch.tensor(ROIS)], [])[0]
        assert top.shape == one.shapes([x.shape, ROIS.shape])[0]
        assert np.array_equal(top.numpy(), roi_loop(x, ROIS, grid, scale))


def test_roi_pooling_gradients_go_to_the_first_of_equals():
    check_gradients(
        "ROIPooling", ROI, [(2, 2, 4, 4), (3, 5)], fixed=[[[0, 0, 0, 7, 7], [1, 2, 2, 5, 6], [1, 1, 1, 1, 1]]]
    )
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    one = layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", [x.shape, (1, 5)])
    one.forward([x, torch.tensor([[0.0, 0, 0, 3, 3]])], [])[0].sum().backward()
    assert x.grad[0, 0].nonzero().tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]


def test_roi_pooling_takes_no_region_and_regions_of_four_axes():
    one = layer("ROIPooling", ROI, MAPS)
    assert one.forward([torch.zeros(2, 3, 8, 9), torch.zeros(0, 5)], [])[0].shape == (0, 3, 3, 2)
    assert top_shapes("ROIPooling", ROI, [(2, 3, 8, 9), (4, 5, 1, 1)]) == [(4, 3, 3, 2)]
    with pytest.raises(SpecError, match="a region is of image 2, there are 2"):
        one.forward([torch.zeros(2, 3, 8, 9), torch.tensor([[2.0, 0, 0, 1, 1]])], [])


def psroi_loop(x, rois, depth, grid, scale):
    f = np.float32
    out = np.zeros((len(rois), depth, grid, grid))
    for r, (image, *corner) in enumerate(rois):
        x1, y1 = (f(c_round(c)) * f(scale) for c in corner[:2])
        x2, y2 = (f(c_round(c) + 1) * f(scale) for c in corner[2:])
        step_h, step_w = f(max(y2 - y1, f(0.1))) / f(grid), f(max(x2 - x1, f(0.1))) / f(grid)
        for d in range(depth):
            for i in range(grid):
                for j in range(grid):
                    top, bottom = np.floor(f(i) * step_h + y1), np.ceil(f(i + 1) * step_h + y1)
                    left, right = np.floor(f(j) * step_w + x1), np.ceil(f(j + 1) * step_w + x1)
                    rows, columns = (slice(max(int(a), 0), max(int(b), 0)) for a, b in ((top, bottom), (left, right)))
                    part = x[int(image), (d * grid + i) * grid + j, rows, columns]
                    out[r, d, i, j] = part.mean() if part.size else 0
    return out


def test_psroi_pooling():
    x = np.random.default_rng(0).normal(size=(2, 18, 8, 9))
    one = layer("PSROIPooling", PSROI, [x.shape, ROIS.shape])
    top = one.forward([torch.tensor(x), torch.tensor(ROIS)], [])[0]
    assert top.shape == one.shapes([x.shape, ROIS.shape])[0]
    assert np.allclose(top.numpy(), psroi_loop(x, ROIS, 2, 3, 0.5))
    check_gradients("PSROIPooling", PSROI, [(1, 18, 4, 4), (2, 5)], fixed=[[[0, 0, 0, 7, 7], [0, 2, 1, 6, 4]]])


def smooth(d, sigma=1.0):
    return (sigma * d) ** 2 / 2 if abs(d) < 1 / sigma**2 else abs(d) - 0.5 / sigma**2


@pytest.mark.parametrize("sigma", [1.0, 3.0])
@pytest.mark.parametrize("weights", [0, 1, 2])
def test_smooth_l1_loss(sigma, weights):
    rng = np.random.default_rng(0)
    a, b, *w = rng.normal(size=(2 + weights, 4, 3)) * 2
    settings = f"smooth_l1_loss_param {{ sigma: {sigma} }}"
    built = net("SmoothL1Loss", settings, [a.shape] * (2 + weights))
    value = built(**{f"b{i}": torch.tensor(v) for i, v in enumerate((a, b, *w))})["t0"].item()
    inner = w[0] if weights else np.ones_like(a)
    outer = w[1] if weights > 1 else np.ones_like(a)
    terms = [o * smooth(i * (x - y), sigma) for x, y, i, o in zip(a.flat, b.flat, inner.flat, outer.flat, strict=True)]
    assert value == pytest.approx(sum(terms) / 4)
    check_gradients("SmoothL1Loss", settings, [a.shape] * (2 + weights), fixed=w)


def test_losses_take_trailing_ones():
    assert top_shapes("SmoothL1Loss", "", [(4, 84), (4, 84, 1, 1)]) == [()]
    built = net("L1Loss", "", [(4, 3), (4, 3, 1, 1)])
    assert built(b0=torch.zeros(4, 3), b1=torch.ones(4, 3, 1, 1))["t0"].item() == 3


def test_l1_loss():
    a, b = torch.randn(2, 5, 3, dtype=torch.float64)
    assert net("L1Loss", "", [a.shape] * 2)(b0=a, b1=b)["t0"].item() == pytest.approx((a - b).abs().sum().item() / 5)
    check_gradients("L1Loss", "", [(3, 4), (3, 4)])


def test_smooth_l1_loss_ohem():
    rng = np.random.default_rng(0)
    a, b, w = rng.normal(size=(3, 2, 3, 2, 2)) * 2
    bottoms = [torch.tensor(v) for v in (a, b, w)]
    one = layer("SmoothL1LossOHEM", "", [a.shape] * 3, 2)
    loss, places = one.forward(bottoms, [])
    terms = np.vectorize(smooth)(w * (a - b))
    assert places.shape == one.shapes([a.shape] * 3)[1] == (2, 1, 2, 2)
    assert np.allclose(places[:, 0], terms.sum(1))
    assert loss.item() == pytest.approx(terms.sum() / 8)
    per_image = layer("SmoothL1LossOHEM", "loss_param { normalization: BATCH_SIZE }", [a.shape] * 3)
    assert per_image.forward(bottoms, [])[0].item() == pytest.approx(terms.sum() / 2)
    fixed = layer("SmoothL1LossOHEM", "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 5 }", [a.shape] * 3)
    assert fixed.forward(bottoms, [])[0].item() == pytest.approx(terms.sum() / 5)
    check_gradients("SmoothL1LossOHEM", "", [a.shape] * 3, fixed=[w])


def test_softmax_with_loss_ohem():
    scores, labels = torch.randn(5, 4, 1, 1, dtype=torch.float64), torch.tensor([0.0, 3, -1, 2, 1])
    settings = "loss_param { ignore_label: -1 }"
    one = layer("SoftmaxWithLossOHEM", settings, [scores.shape, labels.shape], 3)
    loss, chance, places = one.forward([scores, labels], [])
    p = np.exp(scores.numpy()[:, :, 0, 0])
    p /= p.sum(1, keepdims=True)
    want = [-math.log(p[i, int(k)]) if k >= 0 else 0 for i, k in enumerate(labels)]
    assert np.allclose(chance[:, :, 0, 0], p) and np.allclose(places, want) and places.shape == labels.shape
    assert loss.item() == pytest.approx(sum(want) / 4)
    assert not places.requires_grad
    check_gradients("SoftmaxWithLossOHEM", settings, [(5, 4), (5,)], 3, fixed=[labels])


def test_box_annotator_ohem():
    rois = torch.tensor(
        [[0.0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1]]
    )
    loss = torch.tensor([0.5, 0.9, 0.1, 0.2, 0.8, 0.3]).reshape(6, 1, 1, 1)
    label = torch.tensor([3.0, 0, 0, 5, 0, 0]).reshape(6, 1, 1, 1)
    weight = torch.arange(1.0, 13).reshape(6, 2, 1, 1)
    settings = "box_annotator_ohem_param { roi_per_img: 3 ignore_label: -1 }"
    one = layer("BoxAnnotatorOHEM", settings, [b.shape for b in (rois, loss, label, weight)], 2)
    labels, weights = one.forward([rois, loss, label, weight], [])
    # image 0: labelled regions 0 and 3, then the background of greatest loss, 1; image 1: both
    assert labels.flatten().tolist() == [3, 0, 0, 5, -1, 0]
    assert weights.flatten().tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 11, 12]
    assert labels.shape == (6, 1, 1, 1) and weights.shape == weight.shape


def test_anchors_are_the_published_ones():
    want = [
        [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
        [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
        [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
    ]  # fmt: skip
    assert anchors().tolist() == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("'feat_stride': 16", {"feat_stride": 16}),
        ("{'feat_stride': 16, 'scales': (4, 8)}", {"feat_stride": 16, "scales": (4, 8)}),
        ("feat_stride: 16\nscales: [4, 8]", {"feat_stride": 16, "scales": [4, 8]}),
        ("'scales': !!python/tuple [4, 8]", {"scales": [4, 8]}),
        ("'num_classes': 21\n'name': voc", {"num_classes": 21, "name": "voc"}),
        ("", {}),
    ],
)
def test_param_str(text, want):
    assert read_settings(text) == want


def python_net(name, bottoms, tops, param, phase="TRAIN", **context):
    module, cls = name.rsplit(".", 1)
    shapes = [" ".join(f"dim: {n}" for n in shape) for shape in bottoms]
    inputs = [
        f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ {dims} }} }} }}'
        for i, dims in enumerate(shapes)
    ]
    ends = [f'bottom: "b{i}"' for i in range(len(bottoms))] + [f'top: "t{i}"' for i in range(tops)]
    settings = f'python_param {{ module: "{module}" layer: "{cls}" param_str: "{param}" }}'
    text = f'layer {{ name: "one" type: "Python" {" ".join(ends)} {settings} }}'
    return Net(lower(parse("\n".join([*inputs, text]), "net.prototxt"), phase), Context(**context))


def run(built, *bottoms):
    return list(built(**{f"b{i}": torch.as_tensor(b, dtype=torch.float32) for i, b in enumerate(bottoms)}).values())


PROPOSAL, ANCHOR, TARGET = (
    "rpn.proposal_layer.ProposalLayer", "rpn.anchor_target_layer.AnchorTargetLayer",
    "rpn.proposal_target_layer.ProposalTargetLayer",
)  # fmt: skip
DATA = "roi_data_layer.layer.RoIDataLayer"
BAD_PYTHON = [
    (PROPOSAL, [(1, 18, 2, 2), (1, 36, 2, 2)], 1, "'feat_stride': 16", "has 2 bottoms and takes 3 at least"),
    (PROPOSAL, [(1, 18, 2, 2), (1, 36, 2, 2), (1, 3)], 1, "", "feat_stride None must be a whole number above 0"),
    (PROPOSAL, [(2, 18, 2, 2), (2, 36, 2, 2), (1, 3)], 1, "'feat_stride': 16", "must be maps of one image"),
    (PROPOSAL, [(1, 12, 2, 2), (1, 36, 2, 2), (1, 3)], 1, "'feat_stride': 16", "must have 18 channels for its anchors"),
    (PROPOSAL, [(1, 18, 2, 2), (1, 36, 2, 2), (1, 2)], 1, "'feat_stride': 16", "must be 1 x 3"),
    (PROPOSAL, [(1, 18, 2, 2), (1, 36, 2, 2), (1, 3)], 1, "'scales': [0]", "feat_stride None"),
    (PROPOSAL, [(1, 18, 2, 2), (1, 36, 2, 2), (1, 3)], 1, "feat_stride 16", "'feat_stride 16' is not name: value"),
    (ANCHOR, [(1, 18, 2, 2), (1, 4), (1, 3)], 4, "'feat_stride': 16", "must hold rows of five"),
    (ANCHOR, [(1, 18, 2, 2), (1, 5), (1, 3)], 3, "'feat_stride': 16", "has 3 tops and takes 4 at least"),
    (TARGET, [(1, 5), (1, 5)], 5, "", "num_classes None must be a whole number"),
    (TARGET, [(1, 5), (1, 5)], 5, "'num_classes': 2, 'batch_size': 0", "batch_size 0 must be a whole number other"),
    (DATA, [], 4, "'num_classes': 2", "has 4 tops and takes 2, 3, 5 or 6"),
    (DATA, [(1, 5)], 3, "'num_classes': 2", "has 1 bottom and takes none"),
]


@pytest.mark.parametrize(("name", "bottoms", "tops", "param", "message"), BAD_PYTHON)
def test_python_refused(name, bottoms, tops, param, message):
    with pytest.raises(SpecError, match=r"prototxt:\d+:\d+: .*layer 'one' \(Python\)") as caught:
        python_net(name, bottoms, tops, param)
    assert message in caught.value.message


def pixel_iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


def proposal_loop(scores, moves, info, stride, most):
    count = len(anchors())
    found = []
    for y in range(scores.shape[2]):
        for x in range(scores.shape[3]):
            for k, (x1, y1, x2, y2) in enumerate(anchors() + [x * stride, y * stride] * 2):
                dx, dy, dw, dh = moves[0, 4 * k : 4 * k + 4, y, x]
                w, h = x2 - x1 + 1, y2 - y1 + 1
                cx, cy, w, h = dx * w + x1 + w / 2, dy * h + y1 + h / 2, math.exp(dw) * w, math.exp(dh) * h
                box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                box = [max(min(c, info[1 - i % 2] - 1), 0) for i, c in enumerate(box)]
                if box[2] - box[0] + 1 >= 16 * info[2] and box[3] - box[1] + 1 >= 16 * info[2]:
                    found.append((scores[0, count + k, y, x], box))
    found.sort(key=lambda f: -f[0])
    kept = []
    for score, box in found:
        if all(pixel_iou(box, k) <= 0.7 for _, k in kept):
            kept.append((score, box))
    return kept[:most]


def test_proposals():
    rng = np.random.default_rng(2)
    scores, moves = rng.uniform(size=(1, 18, 4, 5)), rng.normal(size=(1, 36, 4, 5)) * 0.3
    info = [64.0, 80.0, 1.0]
    built = python_net(PROPOSAL, [scores.shape, moves.shape, (1, 3)], 2, "'feat_stride': 16", "TEST")
    rois, kept = run(built, scores, moves, [info])
    want = proposal_loop(scores, moves, info, 16, 300)
    assert rois.shape == (len(want), 5) and kept.shape == (len(want), 1, 1, 1) and len(want) > 10
    assert np.allclose(rois[:, 1:], [box for _, box in want], atol=1e-3) and not rois[:, 0].any()
    assert np.allclose(kept.flatten(), [s for s, _ in want], atol=1e-6)


def test_no_proposal_is_left():
    built = python_net(PROPOSAL, [(1, 18, 1, 1), (1, 36, 1, 1), (1, 3)], 1, "'feat_stride': 16", "TEST")
    assert run(built, np.zeros((1, 18, 1, 1)), np.zeros((1, 36, 1, 1)), [[10.0, 10, 1]])[0].shape == (0, 5)


def test_anchor_targets():
    truth = np.array([[20.0, 20, 150, 140, 7], [200, 10, 290, 180, 2]])
    shape, info = (1, 18, 12, 20), [[192.0, 320, 1]]
    built = python_net(ANCHOR, [shape, truth.shape, (1, 3)], 4, "'feat_stride': 16")
    labels, targets, inner, outer = (t.numpy() for t in run(built, np.zeros(shape), truth, info))
    assert labels.shape == (1, 1, 9 * 12, 20) and targets.shape == inner.shape == outer.shape == (1, 36, 12, 20)
    labels = labels.reshape(9, 12, 20)
    shared = np.full((9, 12, 20, 2), np.nan)
    for k, y, x in np.ndindex(9, 12, 20):
        box = anchors()[k] + [16 * x, 16 * y] * 2
        if min(box) >= 0 and box[2] < 320 and box[3] < 192:
            shared[k, y, x] = [pixel_iou(box, t) for t in truth]
    best = np.nanmax(shared, (0, 1, 2))
    good = (np.nan_to_num(shared) >= 0.7).any(-1) | (np.isclose(shared, best)).any(-1)
    assert np.array_equal(labels == 1, good) and (labels == 1).sum() > 1
    assert (labels == 0).sum() == min(256 - good.sum(), ((shared < 0.3).all(-1) & ~good).sum())
    assert (shared[labels == 0] < 0.3).all()
    k, y, x = (int(i[0]) for i in np.nonzero(labels == 1))
    box, want = anchors()[k] + [16 * x, 16 * y] * 2, truth[np.argmax(shared[k, y, x])]
    w, h, tw, th = box[2] - box[0] + 1, box[3] - box[1] + 1, want[2] - want[0] + 1, want[3] - want[1] + 1
    moves = [
        (want[0] + tw / 2 - box[0] - w / 2) / w,
        (want[1] + th / 2 - box[1] - h / 2) / h,
        np.log(tw / w),
        np.log(th / h),
    ]
    assert np.allclose(targets[0, 4 * k : 4 * k + 4, y, x], moves, atol=1e-5)
    inner, outer = (a.reshape(9, 4, 12, 20).transpose(0, 2, 3, 1) for a in (inner, outer))
    assert np.array_equal(inner[..., 0] == 1, labels == 1) and (inner == inner[..., :1]).all()
    assert np.allclose(outer[labels >= 0], 1 / (labels >= 0).sum()) and not outer[labels < 0].any()


def test_anchor_targets_without_a_true_box():
    built = python_net(ANCHOR, [(1, 18, 12, 20), (1, 5), (1, 3)], 4, "'feat_stride': 16")
    labels, targets, *_ = run(built, np.zeros((1, 18, 12, 20)), np.zeros((0, 5)), [[192.0, 320, 1]])
    assert not (labels == 1).any() and (labels == 0).any() and not targets.any()


def target_case(classes, batch=None):
    rng = np.random.default_rng(0)
    truth = np.array([[10.0, 10, 90, 90, 2], [120, 20, 180, 90, 1]])
    low = rng.uniform(0, 150, (200, 2))
    rois = np.concatenate([np.zeros((200, 1)), low, low + rng.uniform(5, 60, (200, 2))], 1)
    rois[:60, 1:] = truth[0, :4] + rng.uniform(-8, 8, (60, 4))
    param = f"'num_classes': {classes}" + (f", 'batch_size': {batch}" if batch else "")
    built = python_net(TARGET, [rois.shape, truth.shape], 5, param)
    return truth, [t.numpy() for t in run(built, rois, truth)]


def test_proposal_targets():
    truth, (rois, labels, targets, inner, outer) = target_case(3)
    assert rois.shape == (128, 5, 1, 1) and labels.shape == (128, 1, 1, 1) and targets.shape == (128, 12, 1, 1)
    labels = labels.ravel().astype(int)
    assert (labels[:32] > 0).all() and not labels[32:].any()
    for roi, label, target, weight in zip(rois[:, 1:, 0, 0], labels, targets, inner, strict=True):
        shared = [pixel_iou(roi, t) for t in truth]
        assert (max(shared) >= 0.5) == (label > 0)
        values = np.zeros((3, 4))
        if label:
            want = truth[int(np.argmax(shared))]
            assert label == want[4]
            w, h, tw, th = roi[2] - roi[0] + 1, roi[3] - roi[1] + 1, want[2] - want[0] + 1, want[3] - want[1] + 1
            dx, dy = (want[0] + tw / 2 - roi[0] - w / 2) / w, (want[1] + th / 2 - roi[1] - h / 2) / h
            values[label] = [dx / 0.1, dy / 0.1, np.log(tw / w) / 0.2, np.log(th / h) / 0.2]
        assert np.allclose(target.reshape(3, 4), values, atol=1e-3)
        assert np.array_equal(weight.reshape(3, 4), np.arange(3)[:, None] == (label or -1) + np.zeros((3, 4)))
    assert np.array_equal(inner, outer)


def test_proposal_targets_agnostic_and_whole():
    _, (rois, labels, targets, inner, _) = target_case(2, -1)
    assert len(rois) == 202 and targets.shape[1] == 8
    assert labels.max() == 2 and inner[labels.ravel() > 0].reshape(-1, 2, 4)[:, 1].all() and not inner[:, :4].any()


def test_roi_data_says_how_to_feed_it():
    built = python_net(DATA, [], 3, "'num_classes': 21")
    assert list(built.blob_shapes.values()) == [(1, 3, 600, 1000), (1, 3), (1, 5)]
    with pytest.raises(SpecError, match=r"give it a batch with feed\(t0=..., t1=..., t2=...\), or put an Input"):
        built()
    ((name, one),) = built.data_layers()
    assert name == "one"
    with pytest.raises(SpecError, match="a batch wants t0, t1, t2; 't2' is missing"):
        one.feed(t0=0, t1=0)
    one.feed(t0=np.ones((1, 3, 4, 5)), t1=[[4, 5, 1]], t2=np.zeros((2, 5)))
    assert [tuple(t.shape) for t in built().values()] == [(1, 3, 4, 5), (1, 3), (2, 5)]


def test_roi_data_of_fast_rcnn_and_of_the_sample():
    built = python_net(DATA, [], 6, "'num_classes': 4", sample=True)
    shapes = [(1, 3, 600, 1000), (1, 5), (1,), (1, 16), (1, 16), (1, 16)]
    assert list(built.blob_shapes.values()) == shapes
    assert [tuple(t.shape) for t in built().values()] == shapes
