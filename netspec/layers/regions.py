"""YOLO's predictions per cell and anchor, and true boxes given as centre and size, all in shares of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.layers.base import Layer, Shape, count
from netspec.layers.boxes import array
from netspec.layers.priors import ROW, example_truth
from netspec.lazytorch import torch

COORDS = 4
LABEL = 5
"""A true box as one of YOLO's rows: class, centre x, centre y, width, height."""


def check_cells(layer: Layer, bottom: Shape, anchors: int, classes: int, biases: Sequence[float], field: str) -> None:
    """Refuses a bottom that is not N x anchors (5 + classes) x side x side, and biases that are not two per anchor."""
    if len(biases) != 2 * anchors:
        raise layer.fail(f"{len(biases)} biases for {anchors} anchors; give a width and a height for each", "biases")
    if len(bottom) != 4 or bottom[2] != bottom[3] or bottom[1] != anchors * (COORDS + 1 + classes):
        raise layer.fail(
            f"bottom 0 {list(bottom)} must be N x {anchors * (COORDS + 1 + classes)} x side x side "
            f"for {anchors} anchors and {classes} classes",
            field,
        )


def check_side(layer: Layer, side: int, bottom: Shape) -> None:
    """Refuses a bottom that has not `side` x `side` cells."""
    if bottom[2] != side:
        raise layer.fail(f"side {side} is not that of bottom 0 {list(bottom)}", "side")


def check_labels(layer: Layer, shape: Shape, images: int) -> None:
    """Refuses a bottom that is neither 1 x 1 x boxes x 8 nor rows of five per image."""
    annotated = len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == ROW
    if not annotated and (not shape or shape[0] != images or not count(shape, 1) or count(shape, 1) % LABEL):
        raise layer.fail(
            f"bottom 1 {list(shape)} must hold rows of {LABEL} for {images} images, or 1 x 1 x boxes x {ROW}"
        )


def example_labels(shape: Shape) -> np.ndarray:
    """True boxes for want of others, around the middle of the images."""
    if len(shape) == 4 and shape[3] == ROW:
        return example_truth(shape)
    return np.tile(np.array([0, 0.5, 0.5, 0.4, 0.3], np.float32), count(shape) // LABEL).reshape(shape)


def read_labels(bottom: torch.Tensor, images: int) -> list[np.ndarray]:
    """Per image, rows of class, centre x, centre y, width, height.

    Rows of five end at the first whose centre has x 0. Rows of eight (AnnotatedData) count classes from 1: 0 is the
    background there.
    """
    values = array(bottom)
    if values.ndim == 4 and values.shape[3] == ROW and values.shape[:2] == (1, 1):
        rows = values.reshape(-1, ROW)
        label, corner, far = rows[:, 1:2] - 1, rows[:, 3:5], rows[:, 5:7]
        boxes = np.concatenate([label, (corner + far) / 2, far - corner], 1)
        return [boxes[rows[:, 0] == image] for image in range(images)]
    found = []
    for rows in values.reshape(images, -1, LABEL):
        ends = np.flatnonzero(rows[:, 1] == 0)
        found.append(rows[: ends[0] if len(ends) else None])
    return found


def cells(bottom: torch.Tensor, anchors: int) -> np.ndarray:
    """N x side x side x anchors x (x, y, w, h, objectness, classes ...), as predicted."""
    n, c, side, _ = bottom.shape
    return array(bottom).reshape(n, anchors, c // anchors, side, side).transpose(0, 3, 4, 1, 2)


def predicted_boxes(values: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Centre and size: (cell + sigmoid(x, y)) / side and bias · exp(w, h) / side. The biases are anchors x 2."""
    side = values.shape[1]
    y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    corner = np.stack([x, y], -1)[:, :, None]
    with np.errstate(over="ignore"):
        size = np.exp(values[..., 2:4]) * biases / side
    return np.concatenate([(corner + sigmoid(values[..., :2])) / side, size], -1).astype(values.dtype)


def corners(boxes: np.ndarray) -> np.ndarray:
    """Centre and size -> xmin, ymin, xmax, ymax."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(x / 2)) / 2


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
