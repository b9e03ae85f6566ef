"""What the layers share that read predictions relative to prior boxes, and true boxes in rows of eight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netspec.errors import SpecError
from netspec.layers.base import Layer, Shape, count
from netspec.layers.boxes import array
from netspec.lazytorch import torch

ROW = 8
"""A true box: image, class, instance, xmin, ymin, xmax, ymax, whether it is difficult."""


class Truth(NamedTuple):
    """The true boxes of one image."""

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


def check_predictions(layer: Layer, bottoms: Sequence[Shape], classes: int, shared: bool) -> None:
    """Refuses locations (bottom 0) and confidences (1) of other numbers than the prior boxes' (2)."""
    if bottoms[0][:1] != bottoms[1][:1] or not bottoms[0]:
        raise layer.fail(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} differ in the number of images")
    if len(bottoms[2]) < 3 or bottoms[2][1] != 2 or bottoms[2][2] % 4:
        raise layer.fail(f"bottom 2 {list(bottoms[2])} must hold prior boxes: 1 x 2 x 4 · priors")
    priors = bottoms[2][2] // 4
    wanted = {0: priors * 4 * (1 if shared else classes), 1: priors * classes}
    for index, values in wanted.items():
        if count(bottoms[index], 1) != values:
            raise layer.fail(
                f"bottom {index} {list(bottoms[index])} has {count(bottoms[index], 1)} values per image; "
                f"{priors} prior boxes and {classes} classes want {values}",
                "num_classes",
            )


def read_priors(bottom: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Prior boxes and their variances, each n x 4."""
    values = array(bottom)[0].reshape(2, -1, 4)
    return values[0], values[1]


def check_truth(layer: Layer, index: int, shape: Shape) -> None:
    """Refuses a bottom that is not rows of eight."""
    if len(shape) != 4 or shape[:2] != (1, 1) or shape[3] != ROW:
        raise layer.fail(f"bottom {index} {list(shape)} must hold true boxes: 1 x 1 x boxes x {ROW}")


def example_truth(shape: Shape, label: int = 1) -> np.ndarray:
    """True boxes for want of others: all of one class, around the middle of the first image."""
    return np.tile(np.array([0, label, 0, 0.2, 0.2, 0.7, 0.6, 0], np.float32), shape[2]).reshape(shape)


def read_truth(bottom: torch.Tensor, background: int, difficult: bool = True) -> dict[int, Truth]:
    """True boxes by image; without `difficult`, those marked so are left out."""
    rows = array(bottom).reshape(-1, ROW)
    rows = rows[rows[:, 0] != -1]
    if not difficult:
        rows = rows[rows[:, 7] == 0]
    if (rows[:, 1].astype(np.int64) == background).any():
        raise SpecError(f"a true box has the background's label {background}")
    found = {}
    for image in np.unique(rows[:, 0].astype(np.int64)):
        own = rows[rows[:, 0].astype(np.int64) == image]
        found[int(image)] = Truth(own[:, 3:7], own[:, 1].astype(np.int64), own[:, 7] != 0)
    return found
