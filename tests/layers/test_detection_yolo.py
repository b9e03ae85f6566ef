"""YOLO's layers against plain loops: Reorg, RegionLoss, EvalDetection."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

from netspec.errors import SpecError

REGION = "region_loss_param { num: 2 num_class: 3 biases: [1, 1.5, 2, 0.8] %s }"
EVAL = "eval_detection_param { side: 3 num_object: 2 num_class: 3 biases: [1, 1.5, 2, 0.8] %s }"
CELLS, LABELS = (2, 16, 3, 3), (2, 10)
BAD = [
    ("Reorg", "reorg_param { stride: 0 }", [(1, 4, 4, 4)], "stride must be at least 1"),
    ("Reorg", "", [(4, 4, 4)], "must have four axes"),
    ("Reorg", "", [(1, 3, 4, 4)], "stride 2 does not fit bottom [1, 3, 4, 4]"),
    ("Reorg", "", [(1, 4, 4, 5)], "stride 2 does not fit bottom [1, 4, 4, 5]"),
    ("Reorg", "reorg_param { reverse: true }", [(1, 6, 4, 4)], "multiple of stride² = 4 channels"),
    ("RegionLoss", "region_loss_param { coords: 5 }", [CELLS, LABELS], "coords 5 must be 4"),
    ("RegionLoss", REGION % 'softmax_tree: "t"', [CELLS, LABELS], "softmax_tree is not supported"),
    ("RegionLoss", REGION % 'class_map: "m"', [CELLS, LABELS], "class_map is not supported"),
    ("RegionLoss", "region_loss_param { num: 2 biases: 1 }", [CELLS, LABELS], "1 biases for 2 anchors"),
    ("RegionLoss", REGION % "", [(2, 15, 3, 3), LABELS], "must be N x 16 x side x side for 2 anchors and 3 classes"),
    ("RegionLoss", REGION % "", [CELLS, (2, 9)], "must hold rows of 5 for 2 images, or 1 x 1 x boxes x 8"),
    ("RegionLoss", REGION % "side: 4", [CELLS, LABELS], "side 4 is not that of bottom 0 [2, 16, 3, 3]"),
    ("EvalDetection", EVAL % "biases: 1", [CELLS, LABELS], "5 biases for 2 anchors"),
    ("EvalDetection", EVAL % "", [(2, 16, 4, 4), LABELS], "side 3 is not that of bottom 0 [2, 16, 4, 4]"),
    ("EvalDetection", EVAL % "", [CELLS, (3, 10)], "must hold rows of 5 for 2 images"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


def reorg_loop(x, stride, reverse):
    """Darknet's loops over the bottom's places: a value is put there (reverse), or got from there."""
    n, c, h, w = x.shape
    flat, out, depth = x.ravel(), np.zeros(x.size), c // stride**2
    for index, (b, k, y, column) in enumerate(np.ndindex(x.shape)):
        i, j = divmod(k // depth, stride)
        row = y * stride + i + h * stride * (k % depth + depth * b)
        other = column * stride + j + w * stride * row
        if reverse:
            out[other] = flat[index]
        else:
            out[index] = flat[other]
    return out.reshape((n, depth, h * stride, w * stride) if reverse else (n, c * stride**2, h // stride, w // stride))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_reorg(stride, reverse):
    x = np.random.default_rng(0).normal(size=(2, stride**2 * 2, stride * 2, stride * 3))
    settings = f"reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}"
    want = reorg_loop(x, stride, reverse)
    assert top_shapes("Reorg", settings, [x.shape]) == [want.shape]
    assert np.array_equal(net("Reorg", settings, [x.shape])(b0=torch.tensor(x))["t0"].numpy(), want)
    check_gradients("Reorg", settings, [(1, stride**2, stride, stride)])


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def iou(a, b):
    """Boxes as centre and size."""
    w = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    h = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    return 0.0 if w <= 0 or h <= 0 else w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


BIASES = [(1.0, 1.5), (2.0, 0.8)]


def cell_box(v, n, x, y, side):
    return [(x + sigmoid(v[0])) / side, (y + sigmoid(v[1])) / side, math.exp(v[2]) * BIASES[n][0] / side,
            math.exp(v[3]) * BIASES[n][1] / side]  # fmt: skip


def region_loop(values, truth, rescore, bias_match, scales, thresh):
    """d of every value, N x anchors x values x side x side."""
    obj, noobj, cls, coord = scales
    d, side = np.zeros_like(values), values.shape[-1]
    for b, n, y, x in np.ndindex(len(values), 2, side, side):
        v = values[b, n, :, y, x]
        o = sigmoid(v[4])
        best = max([iou(cell_box(v, n, x, y, side), t[1:]) for t in truth[b]], default=0)
        d[b, n, 4, y, x] = 0 if best > thresh else noobj * o * o * (1 - o)
    for b in range(len(values)):
        for label, *t in truth[b]:
            x, y = int(t[0] * side), int(t[1] * side)
            fits = []
            for n in range(2):
                box = cell_box(values[b, n, :, y, x], n, x, y, side)
                size = [BIASES[n][0] / side, BIASES[n][1] / side] if bias_match else box[2:]
                fits.append(iou([0, 0, *size], [0, 0, *t[2:]]))
            n = fits.index(max(fits))
            v, out = values[b, n, :, y, x], d[b, n, :, y, x]
            s = coord if rescore else coord * (2 - t[2] * t[3])
            for k, want in enumerate((t[0] * side - x, t[1] * side - y)):
                out[k] = s * (sigmoid(v[k]) - want) * sigmoid(v[k]) * (1 - sigmoid(v[k]))
            for k in range(2):
                out[2 + k] = s * (v[2 + k] - math.log(t[2 + k] * side / BIASES[n][k]))
            o = sigmoid(v[4])
            out[4] = obj * (o - (iou(cell_box(v, n, x, y, side), t) if rescore else 1)) * o * (1 - o)
            e = [math.exp(c) for c in v[5:]]
            for k in range(3):
                out[5 + k] = cls * (e[k] / sum(e) - (k == label))
    return d


TRUTH = [[[1, 0.2, 0.3, 0.4, 0.5], [2, 0.9, 0.6, 0.7, 0.2]], [[0, 0.5, 0.5, 0.3, 0.6]]]


def five(truth):
    rows = np.zeros((len(truth), 3, 5))
    for image, boxes in enumerate(truth):
        rows[image, : len(boxes)] = boxes
    return rows.reshape(len(truth), -1)


def eight(truth):
    return np.array(
        [
            [b, label + 1, 0, x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0]
            for b, boxes in enumerate(truth)
            for label, x, y, w, h in boxes
        ]
    )[None, None]


@pytest.mark.parametrize("rows", [five, eight])
@pytest.mark.parametrize(("rescore", "bias_match"), [(1, 1), (0, 1), (1, 0)])
def test_region_loss(rows, rescore, bias_match):
    values = np.random.default_rng(1).normal(size=(2, 2, 8, 3, 3))
    settings = REGION % (
        f"rescore: {rescore} bias_match: {bias_match} object_scale: 5 noobject_scale: 0.7 class_scale: 1.3 "
        "coord_scale: 1.5 thresh: 0.2"
    )
    x = torch.tensor(values.reshape(2, 16, 3, 3), requires_grad=True)
    labels = torch.tensor(rows(TRUTH))
    one = layer("RegionLoss", settings, [x.shape, labels.shape])
    loss = one.forward([x, labels], [])[0]
    want = region_loop(values, TRUTH, rescore, bias_match, (5, 0.7, 1.3, 1.5), 0.2)
    assert loss.item() == pytest.approx((want**2).sum() / 2)
    loss.backward()
    assert np.allclose(x.grad.numpy(), want.reshape(x.shape) / 2)


def test_region_loss_without_true_boxes():
    x = torch.zeros(1, 16, 3, 3)
    one = layer("RegionLoss", REGION % "", [x.shape, (1, 10)])
    assert one.forward([x, torch.zeros(1, 10)], [])[0].item() == pytest.approx(18 * 0.125**2)


@pytest.mark.parametrize(
    ("row", "message"), [([3, 0.5, 0.5, 0.1, 0.1], "class 3, outside the 3 classes"), ([0, 1.5, 0.5, 1, 1], "1.5, 0.5")]
)
def test_region_loss_names_a_box_that_cannot_be(row, message):
    one = layer("RegionLoss", REGION % "", [(1, 16, 3, 3), (1, 5)])
    with pytest.raises(SpecError, match=message):
        one.forward([torch.zeros(1, 16, 3, 3), torch.tensor([row])], [])


def eval_loop(values, truth, kind, nms, threshold):
    """Rows per image: counts, then detections by class and score."""
    out = []
    side = values.shape[-1]
    for b in range(len(values)):
        found = []
        for y, x, n in np.ndindex(side, side, 2):
            v = values[b, n, :, y, x]
            e = [math.exp(c) for c in v[5:]]
            chance = [c / sum(e) for c in e]
            label = chance.index(max(chance))
            score = {"OBJ": sigmoid(v[4]), "PROB": max(chance), "MULTIPLY": sigmoid(v[4]) * max(chance)}[kind]
            found.append((label, score, cell_box(v, n, x, y, side)))
        found.sort(key=lambda f: -f[1])
        if nms >= 0:
            kept = []
            for f in found:
                if all(iou(f[2], k[2]) < nms for k in kept):
                    kept.append(f)
            found = [k for k in kept if k[1] >= 0.005]
        found.sort(key=lambda f: f[0])
        taken, rows = set(), []
        for label, score, box in found:
            fits = [(iou(box, t[1:]), -i) for i, t in enumerate(truth[b]) if t[0] == label]
            best, index = max(fits, default=(0, 0))
            right = best >= threshold and index not in taken
            if right:
                taken.add(index)
            rows += [label, score, right, not right]
        counts = [sum(t[0] == c for t in truth[b]) for c in range(3)]
        out.append([*counts, *rows, *[0] * (4 * side * side * 2 - len(rows))])
    return out


@pytest.mark.parametrize(("kind", "nms"), [("MULTIPLY", 0.3), ("OBJ", 0.5), ("PROB", -1)])
def test_eval_detection(kind, nms):
    values = np.random.default_rng(3).normal(size=(2, 2, 8, 3, 3))
    values[0, 1, 4:6, 2, 1] = 4  # a sure find of class 0
    truth = [[*TRUTH[0], [0, *cell_box(values[0, 1, :, 2, 1], 1, 1, 2, 3)]], TRUTH[1]]
    labels = torch.tensor(five(truth))
    one = layer("EvalDetection", EVAL % f"score_type: {kind} nms: {nms} threshold: 0.2", [CELLS, labels.shape])
    top = one.forward([torch.tensor(values.reshape(CELLS)), labels], [])[0]
    want = np.array(eval_loop(values, truth, kind, nms, 0.2), float)
    assert top.shape == one.shapes([CELLS, tuple(labels.shape)])[0]
    assert np.allclose(top, want)
    assert want[:, 5::4].sum() >= 1


def test_eval_detection_names_a_class_that_cannot_be():
    one = layer("EvalDetection", EVAL % "", [(1, 16, 3, 3), (1, 5)])
    with pytest.raises(SpecError, match="a class outside the 3 classes"):
        one.forward([torch.zeros(1, 16, 3, 3), torch.tensor([[4, 0.5, 0.5, 0.1, 0.1]])], [])
