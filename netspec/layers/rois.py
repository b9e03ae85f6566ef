"""Regions of interest: rows (image, x1, y1, x2, y2) in pixels of the net's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.layers.base import Layer, Shape, count
from netspec.layers.boxes import array
from netspec.lazytorch import torch

ROW = 5


def check_rois(layer: Layer, bottoms: Sequence[Shape], index: int = 1) -> int:
    """The number of regions; refuses bottoms that are no feature maps (0) and rows of five."""
    if len(bottoms[0]) != 4:
        raise layer.fail(f"bottom 0 {list(bottoms[0])} must have four axes: images, channels, height, width")
    rois = bottoms[index]
    if len(rois) < 2 or count(rois, 1) != ROW:
        raise layer.fail(f"bottom {index} {list(rois)} must hold rows of five: image, x1, y1, x2, y2")
    return rois[0]


def example_rois(shape: Shape) -> np.ndarray:
    """Regions for want of others: 100 x 100 pixels in the corner of the first image."""
    return np.tile(np.array([0, 0, 0, 99, 99], np.float32), shape[0]).reshape(shape)


def read_rois(bottom: torch.Tensor, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and corners (n x 4, single precision, as they are rounded with)."""
    rows = array(bottom).reshape(-1, ROW).astype(np.float32)
    image = rows[:, 0].astype(np.int64)
    for number in image:
        if not 0 <= number < images:
            raise SpecError(f"a region is of image {number}, there are {images}")
    return image, rows[:, 1:]


def away_from_zero(x: np.ndarray) -> np.ndarray:
    """The nearest whole number; a half is rounded away from 0, as C does."""
    return np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x)
