"""Faster R-CNN's rules for anchors, proposals and targets: pixels, last one included. All choices are made in numpy."""

from __future__ import annotations

import numpy as np

from netspec.layers.boxes import descending, overlaps, suppress
from netspec.lazytorch import torch

BASE = 16
RATIOS = (0.5, 1.0, 2.0)
SCALES = (8.0, 16.0, 32.0)
THRESHOLD = 0.7
"""Proposals that overlap a better one by more go; anchors that overlap a true box by as much are objects."""
NEGATIVE = 0.3
LEAST_SIDE = 16
"""Pixels of the original image."""
TOP = {"TRAIN": (12000, 2000), "TEST": (6000, 300)}
"""Most proposals before and after overlapping ones go."""
ANCHORS, ANCHOR_SHARE = 256, 0.5
"""Anchors in a batch, and the greatest share of objects."""
REGIONS, REGION_SHARE, OBJECT_OVERLAP = 128, 0.25, 0.5
TARGET_STDS = (0.1, 0.1, 0.2, 0.2)


def anchors(scales: tuple[float, ...] = SCALES, ratios: tuple[float, ...] = RATIOS, base: int = BASE) -> np.ndarray:
    """Boxes around the middle of the first cell: sides √(base² / ratio), rounded, times ratio, rounded, times scale."""
    centre = (base - 1) / 2
    rows = []
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = np.array([width * scale - 1, height * scale - 1]) / 2
            rows.append([*(centre - half), *(centre + half)])
    return np.array(rows)


def grid(one: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """The anchors of every cell, height x width x anchors x 4."""
    y, x = np.meshgrid(np.arange(height) * stride, np.arange(width) * stride, indexing="ij")
    return np.stack([x, y, x, y], -1)[:, :, None] + one


def centre_and_size(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes[:, :2] + size / 2, size


def moves_to(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(centre - centre) / size, log(size / size): how boxes become true boxes."""
    centre, size = centre_and_size(boxes)
    wanted, wanted_size = centre_and_size(truth)
    return np.concatenate([(wanted - centre) / size, np.log(wanted_size / size)], 1)


def moved(boxes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The boxes that moves make of boxes; their last corner is one pixel further than `moves_to` would have it."""
    centre, size = centre_and_size(boxes)
    centre = moves[:, :2] * size + centre
    with np.errstate(over="ignore"):
        half = np.exp(moves[:, 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], 1)


def propose(
    scores: np.ndarray, moves: np.ndarray, boxes: np.ndarray, info: np.ndarray, most: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Proposals and their scores, best first; `info` is the image's height, width and scale."""
    found = moved(boxes, moves)
    limit = np.array([info[1], info[0], info[1], info[0]]) - 1
    found = np.maximum(np.minimum(found, limit), 0)
    large = (found[:, 2:] - found[:, :2] + 1 >= LEAST_SIDE * info[2]).all(1)
    found, scores = found[large], scores[large]
    order = descending(scores)[: most[0]]
    found, scores = found[order], scores[order]
    kept = suppress(found, THRESHOLD, pixel=1)[: most[1]]
    return found[kept], scores[kept]


def some(places: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the places, drawn without putting back by torch's generator."""
    if len(places) <= most:
        return places
    return places[torch.randperm(len(places))[:most].numpy()]


def anchor_labels(boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 object, 0 background, −1 neither, for a random choice of anchors; and the true box each overlaps most.

    Objects overlap a true box by 0.7, or are those that overlap one most; background overlaps none by 0.3.
    """
    label = np.full(len(boxes), -1)
    if not len(truth):
        label[:], shared = 0, np.zeros((len(boxes), 1))
    else:
        shared = overlaps(boxes, truth, 1)
        label[shared.max(1) < NEGATIVE] = 0
        label[(shared == shared.max(0, initial=0)).any(1)] = 1
        label[shared.max(1) >= THRESHOLD] = 1
    objects = np.flatnonzero(label == 1)
    label[np.setdiff1d(objects, some(objects, int(ANCHORS * ANCHOR_SHARE)))] = -1
    background = np.flatnonzero(label == 0)
    label[np.setdiff1d(background, some(background, ANCHORS - int((label == 1).sum())))] = -1
    return label, shared.argmax(1)


def sample_regions(boxes: np.ndarray, truth: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of chosen regions, objects first, their classes, and the true box each overlaps most.

    `truth` is x1, y1, x2, y2, class. Objects overlap a true box by 0.5; the others are background. `most` less than 0
    takes all.
    """
    shared = overlaps(boxes, truth[:, :4], 1) if len(truth) else np.zeros((len(boxes), 1))
    best, nearest = shared.max(1), shared.argmax(1)
    quota = len(boxes) if most < 0 else int(np.round(REGION_SHARE * most))
    most = len(boxes) if most < 0 else most
    objects = some(np.flatnonzero(best >= OBJECT_OVERLAP), quota)
    others = some(np.flatnonzero(best < OBJECT_OVERLAP), most - len(objects))
    chosen = np.concatenate([objects, others])
    label = np.zeros(len(chosen), np.int64)
    if len(truth):
        label[: len(objects)] = truth[nearest[objects], 4]
    return chosen, label, nearest[chosen]
