"""Class names and colours for pictures of segmentations, and label images that carry the palette of PASCAL VOC."""

from __future__ import annotations

import numpy as np

from netspec.data.classes import NYUD_CLASSES, PASCAL_CONTEXT_CLASSES, SIFTFLOW_CLASSES, SIFTFLOW_GEOMETRY, VOC_CLASSES
from netspec.data.palette import to_palette_png, voc_palette

__all__ = [
    "NYUD_CLASSES",
    "PASCAL_CONTEXT_CLASSES",
    "SIFTFLOW_CLASSES",
    "SIFTFLOW_GEOMETRY",
    "VOC_CLASSES",
    "class_names",
    "colours",
    "to_palette_png",
    "voc_palette",
]

KNOWN = (VOC_CLASSES, PASCAL_CONTEXT_CLASSES, NYUD_CLASSES, SIFTFLOW_CLASSES, SIFTFLOW_GEOMETRY)


def class_names(classes: int) -> tuple[str, ...]:
    """The names of the published data set with so many classes, else `class 0`, `class 1`, ..."""
    for names in KNOWN:
        if len(names) == classes:
            return names
    return tuple(f"class {k}" for k in range(classes))


def colours(label: np.ndarray) -> np.ndarray:
    """Labels H x W as RGB H x W x 3 uint8 in the palette of PASCAL VOC."""
    return voc_palette()[np.asarray(label).astype(np.uint8)]
