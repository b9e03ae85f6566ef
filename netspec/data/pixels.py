"""Files to arrays: colour images (BGR minus mean), depth (log minus mean), labels (palette indices or MATLAB)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netspec.data.classes import VOID
from netspec.data.dataset import Mean, reading
from netspec.errors import SpecError


def rgb(path: Path) -> np.ndarray:
    """The image as H x W x 3 uint8, grey and transparent ones converted."""

    def read() -> np.ndarray:
        with Image.open(path) as image:
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            return np.asarray(image.convert("RGB"))

    return reading(path, read)


def blob(pixels: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """H x W x C minus mean (one per channel) as 1 x C x H x W float32."""
    return np.ascontiguousarray((pixels.astype(np.float32) - np.asarray(mean, np.float32)).transpose(2, 0, 1)[None])


def bgr_blob(pixels: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """RGB H x W x 3 as BGR minus mean (in B, G, R), 1 x 3 x H x W float32."""
    return blob(pixels[:, :, ::-1], mean)


def depth_blob(depth: np.ndarray, mean: float, where: object) -> np.ndarray:
    """ln(depth) minus mean, 1 x 1 x H x W float32; SpecError where depth is not positive."""
    if depth.ndim != 2:
        raise SpecError(f"{where} has shape {depth.shape}, one channel of depth is wanted")
    if not (depth > 0).all():
        raise SpecError(f"{where} has depth {depth.min():g}, its logarithm needs it above 0")
    return (np.log(depth.astype(np.float32)) - np.float32(mean))[None, None]


def label_blob(label: np.ndarray) -> np.ndarray:
    """H x W labels as 1 x 1 x H x W float32."""
    return np.array(label, dtype=np.float32, order="C")[None, None]


def read_bgr(path: Path, mean: Mean) -> np.ndarray:
    return bgr_blob(rgb(path), mean)


def read_kept(path: Path, mean: Mean) -> np.ndarray:
    """Three channels in the file's order, minus mean."""
    return blob(rgb(path), mean)


def read_depth(path: Path, mean: float) -> np.ndarray:
    return depth_blob(_plane(path), mean, path)


def read_indexed_label(path: Path) -> np.ndarray:
    """Palette indices (or grey values) as labels."""
    return label_blob(_plane(path))


def _plane(path: Path) -> np.ndarray:
    def read() -> np.ndarray:
        with Image.open(path) as image:
            if len(image.getbands()) != 1:
                raise SpecError(f"{path} is {image.mode}, one channel (palette indices or grey) is wanted")
            return np.asarray(image)

    return reading(path, read)


def read_mat(path: Path, variable: str) -> np.ndarray:
    """A variable of a MATLAB file (before 7.3)."""
    from scipy.io import loadmat

    found = reading(path, lambda: loadmat(path, variable_names=[variable]))
    if variable not in found:
        raise SpecError(f"{path} has no variable '{variable}'")
    return found[variable]


def read_mat_label(path: Path, variable: str) -> np.ndarray:
    """The labels H x W of a variable, as int64."""
    return whole_numbers(read_mat(path, variable), path)


def whole_numbers(values: Any, path: Path) -> np.ndarray:
    """H x W values as int64; SpecError for another shape, or values that are no integers."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "iufb":
        raise SpecError(
            f"{path} has a label of shape {values.shape} and type {values.dtype}, integers H x W are wanted"
        )
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise SpecError(f"{path} has labels that are no integers")
    return values.astype(np.int64)


def from_one(label: np.ndarray) -> np.ndarray:
    """Labels counted from 1 with 0 for void: k - 1, and 0 becomes 255."""
    return np.where(label == 0, VOID, label - 1)
