"""SSD's layers against plain loops over boxes: Permute, Normalize, PriorBox, MultiBoxLoss, DetectionOutput and
DetectionEvaluate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from one_layer import check_gradients, layer, net, refused, top_shapes

from netspec.errors import SpecError

PRIORS = "prior_box_param { min_size: 4 %s }"
PREDICTIONS = [(2, 12), (2, 9), (1, 2, 12)]
BAD = [
    ("Permute", "permute_param { order: 1 order: 1 }", [(2, 3)], "axis 1 is named twice in the order [1, 1]"),
    ("Permute", "permute_param { order: 2 }", [(2, 3)], "axis 2 is outside the bottom [2, 3]"),
    ("Normalize", "", [(3,)], "must have two axes or more"),
    ("PriorBox", "", [(1, 1, 2, 2)] * 2, "min_size is missing"),
    ("PriorBox", PRIORS % "max_size: 4", [(1, 1, 2, 2)] * 2, "max_size 4 must be greater than min_size 4"),
    ("PriorBox", PRIORS % "max_size: 5 max_size: 6", [(1, 1, 2, 2)] * 2, "2 max_size for 1 min_size"),
    ("PriorBox", PRIORS % "variance: 1 variance: 1", [(1, 1, 2, 2)] * 2, "variance is given 2 times"),
    ("PriorBox", PRIORS % "variance: 0", [(1, 1, 2, 2)] * 2, "variance 0 must be positive"),
    ("PriorBox", PRIORS % "step: 2 step_h: 2", [(1, 1, 2, 2)] * 2, "give step, or step_h and step_w, not both"),
    ("PriorBox", PRIORS % "img_h: 2", [(1, 1, 2, 2)] * 2, "img_w 0 must be positive"),
    ("PriorBox", PRIORS % "", [(1, 1, 2), (1, 1, 2, 2)], "must have four axes"),
    ("DetectionOutput", "", PREDICTIONS, "num_classes is missing or 0"),
    ("DetectionOutput", "detection_output_param { num_classes: 3 nms_param { nms_threshold: -1 } }", PREDICTIONS, "-1"),
    ("DetectionOutput", "detection_output_param { num_classes: 3 nms_param { eta: 0 } }", PREDICTIONS, "eta 0 must be"),
    ("DetectionOutput", "detection_output_param { num_classes: 2 }", PREDICTIONS, "2 classes want 6"),
    ("DetectionOutput", "detection_output_param { num_classes: 3 share_location: false }", PREDICTIONS, "want 36"),
    ("DetectionOutput", "detection_output_param { num_classes: 3 }", [(2, 12), (1, 9), (1, 2, 12)], "number of images"),
    ("DetectionOutput", "detection_output_param { num_classes: 3 }", [(2, 12), (2, 9), (1, 12)], "prior boxes"),
    ("MultiBoxLoss", "", [*PREDICTIONS, (1, 1, 2, 8)], "num_classes is missing or 0"),
    (
        "MultiBoxLoss",
        "multibox_loss_param { num_classes: 3 background_label_id: 3 }",
        [*PREDICTIONS, (1, 1, 2, 8)],
        "3",
    ),
    (
        "MultiBoxLoss",
        "multibox_loss_param { num_classes: 3 share_location: false }",
        [*PREDICTIONS, (1, 1, 2, 8)],
        "wants",
    ),
    (
        "MultiBoxLoss",
        "multibox_loss_param { num_classes: 3 do_neg_mining: false }",
        [*PREDICTIONS, (1, 1, 2, 8)],
        "contra",
    ),
    (
        "MultiBoxLoss",
        "multibox_loss_param { num_classes: 3 mining_type: HARD_EXAMPLE sample_size: 0 }",
        [*PREDICTIONS, (1, 1, 2, 8)],
        "sample_size 0 must be at least 1",
    ),
    (
        "MultiBoxLoss",
        "multibox_loss_param { num_classes: 3 map_object_to_agnostic: true }",
        [*PREDICTIONS, (1, 1, 2, 8)],
        "map_object_to_agnostic wants 2 classes, not 3",
    ),
    ("MultiBoxLoss", "multibox_loss_param { num_classes: 3 }", [*PREDICTIONS, (1, 1, 2, 7)], "must hold true boxes"),
    (
        "DetectionEvaluate",
        'detection_evaluate_param { num_classes: 3 name_size_file: "f" resize_param { resize_mode: FIT_SMALL_SIZE } }',
        [(1, 1, 2, 7), (1, 1, 2, 8)],
        "only WARP is supported for boxes in pixels",
    ),
    ("DetectionEvaluate", "", [(1, 1, 2, 7), (1, 1, 2, 8)], "num_classes is missing or 0"),
    (
        "DetectionEvaluate",
        "detection_evaluate_param { num_classes: 3 overlap_threshold: 0 }",
        [(1, 1, 2, 7), (1, 1, 2, 8)],
        "overlap_threshold 0 must be above 0",
    ),
    ("DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", [(1, 1, 2, 6), (1, 1, 2, 8)], "detections"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "message"), BAD)
def test_refused(type, settings, shapes, message):
    refused(type, settings, shapes, 1, message)


def test_permute():
    settings = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
    x = torch.randn(2, 3, 4, 5)
    assert top_shapes("Permute", settings, [x.shape]) == [(2, 4, 5, 3)]
    assert torch.equal(net("Permute", settings, [x.shape])(b0=x)["t0"], x.permute(0, 2, 3, 1))
    assert top_shapes("Permute", "permute_param { order: 2 }", [x.shape]) == [(4, 2, 3, 5)]
    assert top_shapes("Permute", "", [x.shape]) == [(2, 3, 4, 5)]
    check_gradients("Permute", settings, [(2, 2, 2, 3)])


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_normalize(across, shared):
    flags = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()}"
    filled = f'norm_param {{ {flags} scale_filler {{ type: "constant" value: 20 }} }}'
    x = torch.randn(2, 3, 4, 5)
    built = net("Normalize", filled, [x.shape])
    length = x.numpy() ** 2
    length = np.sqrt(length.sum((1, 2, 3) if across else 1, keepdims=True))
    assert np.allclose(built(b0=x)["t0"].detach(), 20 * x.numpy() / length, atol=1e-5)
    assert built.get_parameter("one.scale").shape == (() if shared else (3,))
    check_gradients("Normalize", f"norm_param {{ {flags} }}", [(2, 3, 2, 2)])


def test_normalize_starts_at_one_and_survives_zeros():
    built = net("Normalize", "norm_param { across_spatial: false channel_shared: false }", [(1, 2, 1, 1)])
    assert built.get_parameter("one.scale").tolist() == [1, 1]
    assert built(b0=torch.zeros(1, 2, 1, 1))["t0"].tolist() == [[[[0.0]], [[0.0]]]]


def prior_loop(h, w, img_h, img_w, mins, maxs, ratios, step, offset):
    """One box after the other, as the docstring says."""
    rows = []
    for y in range(h):
        for x in range(w):
            cx, cy = (x + offset) * (step or img_w / w), (y + offset) * (step or img_h / h)
            for i, size in enumerate(int(m) for m in mins):
                sides = [(size, size)]
                if maxs:
                    sides.append((math.sqrt(size * int(maxs[i])),) * 2)
                sides += [(size * math.sqrt(r), size / math.sqrt(r)) for r in ratios]
                for bw, bh in sides:
                    rows.append(
                        [(cx - bw / 2) / img_w, (cy - bh / 2) / img_h, (cx + bw / 2) / img_w, (cy + bh / 2) / img_h]
                    )
    return np.array(rows)


@pytest.mark.parametrize("step", [0, 7])
def test_prior_box(step):
    text = "min_size: 4.9 min_size: 6 max_size: 9 max_size: 12 aspect_ratio: 2 aspect_ratio: 2 aspect_ratio: 1"
    text += " variance: [0.1, 0.1, 0.2, 0.3]" + (f" step: {step}" if step else "")
    shapes = [(2, 5, 3, 2), (2, 3, 20, 30)]
    built = net("PriorBox", f"prior_box_param {{ {text} }}", shapes)
    top = built(b0=torch.zeros(shapes[0]), b1=torch.zeros(shapes[1]))["t0"].numpy()
    want = prior_loop(3, 2, 20, 30, [4.9, 6], [9, 12], [2, 0.5], step, 0.5)
    assert top.shape == top_shapes("PriorBox", f"prior_box_param {{ {text} }}", shapes)[0] == (1, 2, want.size)
    assert np.allclose(top[0, 0].reshape(-1, 4), want, atol=1e-6)
    assert np.allclose(top[0, 1].reshape(-1, 4), [0.1, 0.1, 0.2, 0.3])


def test_prior_box_clipped_unflipped_and_of_a_given_image():
    text = "min_size: 10 aspect_ratio: 4 flip: false clip: true img_h: 10 img_w: 20 step_h: 5 step_w: 4 offset: 0"
    built = net("PriorBox", f"prior_box_param {{ {text} }}", [(1, 1, 1, 2), (1, 1, 3, 3)])
    top = built(b0=torch.zeros(1, 1, 1, 2), b1=torch.zeros(1, 1, 3, 3))["t0"].numpy()
    want = np.array([[0, 0, 0.25, 0.5], [0, 0, 0.5, 0.25], [0, 0, 0.45, 0.5], [0, 0, 0.7, 0.25]])
    assert np.allclose(top[0, 0].reshape(-1, 4), want)
    assert np.allclose(top[0, 1], 0.1)


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def decode(code, prior, variance, move):
    """One box."""
    px, py, pw, ph = (prior[0] + prior[2]) / 2, (prior[1] + prior[3]) / 2, prior[2] - prior[0], prior[3] - prior[1]
    m = [v * d for v, d in zip(variance, move, strict=True)]
    if code == "CORNER":
        return [p + d for p, d in zip(prior, m, strict=True)]
    if code == "CORNER_SIZE":
        return [p + d * s for p, d, s in zip(prior, m, (pw, ph, pw, ph), strict=True)]
    cx, cy, w, h = m[0] * pw + px, m[1] * ph + py, math.exp(m[2]) * pw, math.exp(m[3]) * ph
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def encode(code, prior, variance, box):
    px, py, pw, ph = (prior[0] + prior[2]) / 2, (prior[1] + prior[3]) / 2, prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        m = [b - p for b, p in zip(box, prior, strict=True)]
    elif code == "CORNER_SIZE":
        m = [(b - p) / s for b, p, s in zip(box, prior, (pw, ph, pw, ph), strict=True)]
    else:
        cx, cy, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
        m = [(cx - px) / pw, (cy - py) / ph, math.log(w / pw), math.log(h / ph)]
    return [d / v for d, v in zip(m, variance, strict=True)]


def random_boxes(rng, n):
    low = rng.uniform(0, 0.6, (n, 2))
    return np.concatenate([low, low + rng.uniform(0.15, 0.4, (n, 2))], 1)


def detections(moves, scores, priors, variances, code, classes, share, background, threshold, least, top_k, keep, eta):
    """DetectionOutput box by box."""
    rows = []
    for image in range(len(moves)):
        own = []
        for c in range(classes):
            if c == background:
                continue
            boxes = [
                decode(code, priors[p], variances[p], moves[image, p, 0 if share else c]) for p in range(len(priors))
            ]
            ranked = sorted(
                (p for p in range(len(priors)) if scores[image, p, c] > least), key=lambda p: -scores[image, p, c]
            )
            kept, limit = [], threshold
            for p in ranked[:top_k]:
                if all(iou(boxes[p], boxes[k]) <= limit for k in kept):
                    kept.append(p)
                    if eta < 1 and limit > 0.5:
                        limit *= eta
            own += [[image, c, scores[image, p, c], *boxes[p]] for p in kept]
        if len(own) > keep:
            own = sorted(sorted(own, key=lambda r: -r[2])[:keep], key=lambda r: r[1])
        rows += own
    return np.array(rows)


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize(("share", "eta", "keep"), [(True, 1, 100), (False, 1, 7), (True, 0.9, 5)])
def test_detection_output(code, share, eta, keep):
    rng = np.random.default_rng(1)
    n, classes = 30, 4
    priors, variances = random_boxes(rng, n), np.tile([0.1, 0.1, 0.2, 0.2], (n, 1))
    moves = rng.normal(size=(2, n, 1 if share else classes, 4))
    scores = rng.uniform(size=(2, n, classes))
    text = f"num_classes: {classes} share_location: {str(share).lower()} code_type: {code} keep_top_k: {keep}"
    text += f" confidence_threshold: 0.3 nms_param {{ nms_threshold: 0.6 top_k: 15 eta: {eta} }}"
    text += ' save_output_param { output_directory: "nowhere" label_map_file: "none" output_format: "VOC" }'
    bottoms = [moves.reshape(2, -1), scores.reshape(2, -1), np.stack([priors.ravel(), variances.ravel()])[None]]
    built = net("DetectionOutput", f"detection_output_param {{ {text} }}", [b.shape for b in bottoms])
    top = built(**{f"b{i}": torch.tensor(b) for i, b in enumerate(bottoms)})["t0"].numpy()
    want = detections(moves, scores, priors, variances, code, classes, share, 0, 0.6, 0.3, 15, keep, eta)
    assert top.shape[:2] == (1, 1) and len(want) > 4
    assert np.allclose(top[0, 0], want, atol=1e-6)


def test_detection_output_without_a_detection():
    text = "detection_output_param { num_classes: 3 confidence_threshold: 0.5 }"
    built = net("DetectionOutput", text, PREDICTIONS)
    top = built(b0=torch.zeros(2, 12), b1=torch.zeros(2, 9), b2=torch.zeros(1, 2, 12))["t0"]
    assert top.tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]


def match_loop(boxes, truth, threshold, per_prediction):
    """The true box of each box, −1 for none, and the greatest overlaps."""
    matched, best = [-1] * len(boxes), [0.0] * len(boxes)
    shared = [[iou(b, t) for t in truth] for b in boxes]
    shared = [[s if s > 1e-6 else 0 for s in row] for row in shared]
    pool = list(range(len(truth)))
    best = [max(row) for row in shared]
    while pool:
        pairs = [
            (shared[i][j], -i, -j) for i in range(len(boxes)) if matched[i] == -1 for j in pool if shared[i][j] > 0
        ]
        if not pairs:
            break
        _, i, j = max(pairs)
        matched[-i] = -j
        pool.remove(-j)
    if per_prediction:
        for i, row in enumerate(shared):
            if matched[i] == -1 and max(row) >= threshold:
                matched[i] = row.index(max(row))
    return matched, best


def multibox_loop(moves, scores, priors, variances, truth, code, logistic, l2, per_prediction, mining, ratio, weight):
    """The loss, image by image, prior by prior, with shared locations and background 0."""
    loc = conf = 0.0
    matches = 0
    for image in range(len(moves)):
        boxes = [t for t in truth if t[0] == image]
        n = len(priors)

        def loss(p, label, logistic=logistic, image=image):
            s = scores[image, p]
            if logistic:
                target = [float(c == label) for c in range(len(s))]
                return sum(max(x, 0) - x * t + math.log1p(math.exp(-abs(x))) for x, t in zip(s, target, strict=True))
            return math.log(sum(math.exp(x) for x in s)) - s[label]

        if not boxes:
            if mining == "NONE":
                conf += sum(loss(p, -1 if logistic else 0) for p in range(n))
            continue
        matched, best = match_loop(priors, [b[3:7] for b in boxes], 0.4, per_prediction)
        positive = [p for p in range(n) if matched[p] >= 0]
        if mining == "MAX_NEGATIVE":
            able = [p for p in range(n) if matched[p] == -1 and best[p] < 0.35]
            negative = sorted(able, key=lambda p: -loss(p, 0))[: int(len(positive) * ratio)]
        elif mining == "HARD_EXAMPLE":

            def both(p, matched=matched, boxes=boxes, image=image, loss=loss):
                if matched[p] < 0:
                    return loss(p, 0)
                wanted = encode(code, priors[p], variances[p], boxes[matched[p]][3:7])
                return loss(p, int(boxes[matched[p]][1])) + distance(moves[image, p], wanted, l2)

            hard = sorted(range(n), key=lambda p: -both(p))[:6]
            positive, negative = [p for p in positive if p in hard], [p for p in hard if matched[p] == -1]
        else:
            negative = [p for p in range(n) if matched[p] == -1]
        for p in positive:
            box = boxes[matched[p]]
            loc += distance(moves[image, p], encode(code, priors[p], variances[p], box[3:7]), l2)
            conf += loss(p, int(box[1]))
        conf += sum(loss(p, -1 if logistic and mining == "NONE" else 0) for p in negative)
        matches += len(positive)
    return (weight * loc + conf) / max(matches, 1)


def distance(move, wanted, l2):
    total = 0.0
    for a, b in zip(move, wanted, strict=True):
        d = abs(a - b)
        total += d * d / 2 if l2 or d < 1 else d - 0.5
    return total


def multibox_case(seed=3, n=14, classes=3):
    rng = np.random.default_rng(seed)
    priors, variances = random_boxes(rng, n), np.tile([0.1, 0.1, 0.2, 0.2], (n, 1))
    truth = np.zeros((4, 8))
    truth[:, 0] = 0, 0, 2, -1
    truth[:, 1] = 1, 2, 2, 1
    truth[:, 3:7] = random_boxes(rng, 4)
    truth[0, 3:7] = priors[3] + 0.02
    moves, scores = rng.normal(size=(3, n, 4)), rng.normal(size=(3, n, classes))
    fixed = [np.stack([priors.ravel(), variances.ravel()])[None], truth[None, None]]
    return moves, scores, priors, variances, truth, fixed


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize(
    ("conf", "loc", "match", "mining"),
    [
        ("SOFTMAX", "SMOOTH_L1", "PER_PREDICTION", "MAX_NEGATIVE"),
        ("SOFTMAX", "L2", "BIPARTITE", "MAX_NEGATIVE"),
        ("LOGISTIC", "SMOOTH_L1", "PER_PREDICTION", "MAX_NEGATIVE"),
        ("LOGISTIC", "L2", "PER_PREDICTION", "NONE"),
        ("SOFTMAX", "SMOOTH_L1", "PER_PREDICTION", "HARD_EXAMPLE"),
        ("SOFTMAX", "SMOOTH_L1", "BIPARTITE", "NONE"),
    ],
)
def test_multi_box_loss(code, conf, loc, match, mining):
    moves, scores, priors, variances, truth, fixed = multibox_case()
    text = f"num_classes: 3 code_type: {code} conf_loss_type: {conf} loc_loss_type: {loc} match_type: {match}"
    text += f" mining_type: {mining} overlap_threshold: 0.4 neg_overlap: 0.35 neg_pos_ratio: 1.7 loc_weight: 2"
    text = f"multibox_loss_param {{ {text} sample_size: 6 }}"
    bottoms = [moves.reshape(3, -1), scores.reshape(3, -1), *fixed]
    shapes = [b.shape for b in bottoms]
    built = net("MultiBoxLoss", text, shapes)
    value = built(**{f"b{i}": torch.tensor(b) for i, b in enumerate(bottoms)})["t0"].item()
    want = multibox_loop(
        moves, scores, priors, variances, truth[:3], code, conf == "LOGISTIC", loc == "L2",
        match == "PER_PREDICTION", mining, 1.7, 2.0,
    )  # fmt: skip
    assert value == pytest.approx(want, rel=1e-5)
    check_gradients("MultiBoxLoss", text, shapes, fixed=fixed)


def run_multibox(settings, moves, scores, fixed, loss_param=""):
    bottoms = [torch.tensor(moves.reshape(len(moves), -1)), torch.tensor(scores.reshape(len(scores), -1))]
    bottoms += [torch.tensor(f) for f in fixed]
    one = layer("MultiBoxLoss", f"multibox_loss_param {{ {settings} }} {loss_param}", [b.shape for b in bottoms])
    return one.forward(bottoms, [])[0]


def test_multi_box_loss_without_true_boxes():
    moves, scores, *_, fixed = multibox_case()
    none = np.full((1, 1, 1, 8), -1.0)
    assert run_multibox("num_classes: 3", moves, scores, [fixed[0], none]).item() == 0
    all_background = run_multibox("num_classes: 3 mining_type: NONE", moves, scores, [fixed[0], none])
    assert all_background.item() == pytest.approx(-np.log(softmax(scores))[..., 0].sum())


def softmax(x):
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def test_multi_box_loss_normalization_and_parts():
    moves, scores, *_, fixed = multibox_case()
    valid = run_multibox("num_classes: 3", moves, scores, fixed).item()
    none = run_multibox("num_classes: 3", moves, scores, fixed, "loss_param { normalization: NONE }").item()
    per_image = run_multibox("num_classes: 3", moves, scores, fixed, "loss_param { normalize: false }").item()
    assert none == pytest.approx(3 * per_image) and none > valid
    flags = ("true", "false", "false", "false"), ("false", "true", "false", "false")
    parts = [" ".join(f"propagate_down: {f}" for f in one) for one in flags]
    assert valid == pytest.approx(sum(run_multibox("num_classes: 3", moves, scores, fixed, p).item() for p in parts))


def test_multi_box_loss_of_locations_per_class_is_that_of_the_true_class():
    moves, scores, *_, fixed = multibox_case()
    per_class = np.random.default_rng(0).normal(size=(3, 14, 3, 4))
    truth = fixed[1].copy()
    truth[0, 0, :, 1] = 2
    per_class[:, :, 2] = moves
    common = "num_classes: 3 mining_type: NONE code_type: CENTER_SIZE"
    apart = run_multibox(common + " share_location: false", per_class, scores, [fixed[0], truth]).item()
    assert apart == pytest.approx(run_multibox(common, moves, scores, [fixed[0], truth]).item())


def test_multi_box_loss_leaves_difficult_and_outside_boxes_out():
    moves, scores, priors, variances, truth, fixed = multibox_case()
    hard = fixed[1].copy()
    hard[0, 0, 0, 7] = 1
    less = fixed[1][:, :, 1:]
    common = "num_classes: 3 code_type: CORNER"
    assert run_multibox(common + " use_difficult_gt: false", moves, scores, [fixed[0], hard]).item() == pytest.approx(
        run_multibox(common, moves, scores, [fixed[0], less]).item()
    )
    outside = fixed[0].copy()
    outside[0, 0, 12:16] += 0.7
    ignored = run_multibox(common + " ignore_cross_boundary_bbox: true", moves, scores, [outside, fixed[1]])
    assert ignored.item() != run_multibox(common, moves, scores, [outside, fixed[1]]).item()


def test_multi_box_loss_variance_in_the_target_and_inside_only():
    moves, scores, *_, fixed = multibox_case()
    common = "num_classes: 3 code_type: CORNER"
    scaled = moves * [0.1, 0.1, 0.2, 0.2]
    in_target = run_multibox(common + " encode_variance_in_target: true", scaled, scores, fixed).item()
    assert in_target == pytest.approx(run_multibox(common, moves, scores, fixed).item())
    assert run_multibox(common + " bp_inside: true", moves, scores, fixed).item() == pytest.approx(
        run_multibox(common, moves, scores, fixed).item()
    )


def test_multi_box_loss_matches_predictions_and_thins_out_negatives():
    moves, scores, *_, fixed = multibox_case()
    common = "num_classes: 3 code_type: CORNER"
    by_prior = run_multibox(common, 0 * moves, scores, fixed).item()
    assert run_multibox(common + " use_prior_for_matching: false", 0 * moves, scores, fixed).item() == pytest.approx(
        by_prior
    )
    thin = run_multibox(common + " use_prior_for_nms: true nms_param { nms_threshold: 0.01 }", 0 * moves, scores, fixed)
    assert thin.item() < by_prior


@pytest.mark.parametrize(("label", "message"), [(0, "background's label 0"), (3, "label 3, outside the 3 classes")])
def test_multi_box_loss_names_a_label_that_cannot_be(label, message):
    moves, scores, *_, fixed = multibox_case()
    truth = fixed[1].copy()
    truth[0, 0, 0, 1] = label
    with pytest.raises(SpecError, match=message):
        run_multibox("num_classes: 3", moves, scores, [fixed[0], truth])


def test_prior_boxes_stop_the_gradient_without_being_refused():
    """Nets that leave propagate_down out train all the same."""
    source = """
    layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: [1, 3, 8, 8] } } }
    layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape { dim: [1, 1, 1, 8] }
            data_filler { type: "constant" value: -1 } } }
    layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 4 kernel_size: 8 } }
    layer { name: "f" type: "Convolution" bottom: "d" top: "f" convolution_param { num_output: 2 kernel_size: 8 } }
    layer { name: "p" type: "PriorBox" bottom: "c" bottom: "d" top: "p" prior_box_param { min_size: 4 } }
    layer { name: "l" type: "MultiBoxLoss" bottom: "c" bottom: "f" bottom: "p" bottom: "t" top: "l"
            multibox_loss_param { num_classes: 2 } }
    """
    from netspec.ir.lower import lower
    from netspec.net import Net
    from netspec.spec.text import parse

    built = Net(lower(parse(source)))
    loss, _ = built.loss({})
    loss.backward()
    assert built.get_parameter("c.weight").grad is not None


def evaluate(found, truth, settings=""):
    text = f"detection_evaluate_param {{ num_classes: 3 {settings} }}"
    bottoms = [torch.tensor(b, dtype=torch.float32)[None, None] for b in (found, truth)]
    one = layer("DetectionEvaluate", text, [b.shape for b in bottoms])
    top = one.forward(bottoms, [])[0]
    assert top.shape == one.shapes([tuple(b.shape) for b in bottoms])[0]
    return top[0, 0].tolist()


TRUTH = [[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0], [0, 2, 0, 0.6, 0.6, 0.9, 0.9, 1], [1, 1, 0, 0, 0, 0.3, 0.3, 0]]


def test_detection_evaluate_by_hand():
    found = [
        [0, 1, 0.5, 0.1, 0.1, 0.5, 0.45],  # overlaps the first true box, but is second to the next
        [0, 1, 0.75, 0.1, 0.1, 0.5, 0.5],
        [0, 2, 0.25, 0.6, 0.6, 0.9, 0.9],  # on the difficult one
        [0, 2, 0.5, 0, 0, 0.1, 0.1],
        [1, 2, 0.5, 0, 0, 0.3, 0.3],  # no such class in the image
        [2, 1, 0.5, 0, 0, 0.3, 0.3],  # no true box in the image
    ]
    head = [[-1, 1, 2, -1, -1], [-1, 2, 1, -1, -1]]
    rows = [[0, 1, 0.75, 1, 0], [0, 1, 0.5, 0, 1], [0, 2, 0.5, 0, 1], [0, 2, 0.25, 1, 0], [1, 2, 0.5, 0, 1]]
    rows.append([2, 1, 0.5, 0, 1])
    assert evaluate(found, TRUTH) == head + rows
    rows[3] = [0, 2, 0.25, 0, 0]
    assert evaluate(found, TRUTH, "evaluate_difficult_gt: false") == [head[0], [-1, 2, 0, -1, -1], *rows]


def test_detection_evaluate_of_nothing_found():
    nothing = [[0, *[-1] * 6], [1, *[-1] * 6]]
    want = [[-1, 1, 2, -1, -1], [-1, 2, 1, -1, -1], [0, -1, -1, 0, 1], [1, -1, -1, 0, 1]]
    assert evaluate(nothing, TRUTH) == want


def test_detection_evaluate_in_pixels(tmp_path):
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("first 10 10\nsecond 20 30\n")
    found = [[0, 1, 0.5, 0.1, 0.1, 0.5, 0.3]]
    truth = [[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0]]
    # 5 x 3 of 5 x 5 pixels, where shares of the image would give exactly one half
    assert evaluate(found, truth, f'overlap_threshold: 0.55 name_size_file: "{sizes}"')[-1][3:] == [1, 0]
    assert evaluate(found, truth, "overlap_threshold: 0.55")[-1][3:] == [0, 1]
    sizes.write_text("first 10\n")
    with pytest.raises(SpecError, match="does not hold lines of name, height, width"):
        evaluate(found, truth, f'name_size_file: "{sizes}"')
