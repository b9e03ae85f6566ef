"""SBDD, more labels for VOC's images: img/ID.jpg and cls/ID.mat, field Segmentation of its struct GTcls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from netspec.data.dataset import FileDataset, Mean, Part
from netspec.data.pixels import label_blob, read_bgr, read_mat, whole_numbers
from netspec.errors import SpecError


def sbdd(sbdd_dir: Path, split: str, mean: Mean, classes: int = 21) -> FileDataset:
    """Tops data and label of the split list SPLIT.txt; `mean` in B, G, R."""
    parts = {
        "data": Part(lambda name: sbdd_dir / "img" / f"{name}.jpg", partial(read_bgr, mean=mean)),
        "label": Part(lambda name: sbdd_dir / "cls" / f"{name}.mat", _read_label, classes),
    }
    return FileDataset("SBDD", sbdd_dir / f"{split}.txt", parts)


def _read_label(path: Path) -> np.ndarray:
    struct = read_mat(path, "GTcls")
    if struct.dtype.names is None or "Segmentation" not in struct.dtype.names or struct.size != 1:
        raise SpecError(f"{path} has no field GTcls.Segmentation")
    return label_blob(whole_numbers(struct["Segmentation"].item(), path))
