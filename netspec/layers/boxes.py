"""Boxes (xmin, ymin, xmax, ymax): overlaps, codes relative to prior boxes, non-maximum suppression."""

from __future__ import annotations

import numpy as np

from netspec.lazytorch import torch

CORNER, CENTER_SIZE, CORNER_SIZE = "CORNER", "CENTER_SIZE", "CORNER_SIZE"
LEAST_AREA = 1e-5
"""Smaller boxes, as shares of the image, are no boxes where `suppress` says so."""


def area(boxes: np.ndarray, pixel: float = 0.0) -> np.ndarray:
    """(width + pixel)(height + pixel) along the last axis; 0 where a corner lies beyond its opposite.

    `pixel` is 0 for boxes in shares of the image and 1 for boxes that include their last pixel.
    """
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return np.where((width < 0) | (height < 0), 0, (width + pixel) * (height + pixel))


def overlaps(first: np.ndarray, second: np.ndarray, pixel: float = 0.0) -> np.ndarray:
    """n x m: area of the intersection / area of the union of every two boxes; 0 where they do not meet."""
    both = intersections(first, second, pixel)
    union = area(first, pixel)[:, None] + area(second, pixel)[None, :] - both
    return np.divide(both, union, out=np.zeros_like(both), where=both > 0)


def intersections(first: np.ndarray, second: np.ndarray, pixel: float = 0.0) -> np.ndarray:
    """n x m areas that two boxes share."""
    near = np.maximum(first[:, None, :2], second[None, :, :2])
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])
    side = np.maximum(far - near + pixel, 0)
    return side[..., 0] * side[..., 1]


def suppress(boxes: np.ndarray, threshold: float, eta: float = 1.0, pixel: float = 0.0) -> np.ndarray:
    """Which boxes stay, best first: a box goes when it overlaps a better one that stays by more than `threshold`.

    The boxes come best first. With eta < 1, each one that stays multiplies a threshold above 0.5 by eta.
    """
    worst = np.zeros(len(boxes), boxes.dtype)
    kept, at = [], 0
    while at < len(boxes):
        kept.append(at)
        rest = slice(at + 1, None)
        worst[rest] = np.maximum(worst[rest], overlaps(boxes[at : at + 1], boxes[rest], pixel)[0])
        if eta < 1 and threshold > 0.5:
            threshold *= eta
        free = np.flatnonzero(worst[rest] <= threshold)
        if not len(free):
            break
        at += 1 + int(free[0])
    return np.array(kept, np.int64)


def descending(scores: np.ndarray) -> np.ndarray:
    """Indices from the greatest score to the least; of equal ones the first comes first."""
    return np.argsort(-scores, kind="stable")


def split(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes, each n x 2."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def encode(code: str, prior: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What a prior box must be moved by to become the box, without variances.

    CORNER: box - prior. CORNER_SIZE: (box - prior) / size of the prior. CENTER_SIZE: (centre - prior's centre) / its
    size, and log(size / its size).
    """
    if code == CORNER:
        return boxes - prior
    prior_centre, prior_size = split(prior)
    if code == CORNER_SIZE:
        return (boxes - prior) / np.concatenate([prior_size, prior_size], -1)
    centre, size = split(boxes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([(centre - prior_centre) / prior_size, np.log(size / prior_size)], -1)


def decode(code: str, prior: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The boxes that `encode` made moves of; variances are multiplied into the moves before."""
    if code == CORNER:
        return prior + moves
    prior_centre, prior_size = split(prior)
    if code == CORNER_SIZE:
        return prior + moves * np.concatenate([prior_size, prior_size], -1)
    centre = moves[..., :2] * prior_size + prior_centre
    with np.errstate(over="ignore"):
        half = np.exp(moves[..., 2:]) * prior_size / 2
    return np.concatenate([centre - half, centre + half], -1)


def array(x: torch.Tensor) -> np.ndarray:
    """A tensor's values on the host, outside of what is differentiated."""
    return x.detach().cpu().numpy()
