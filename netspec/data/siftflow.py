"""SIFT Flow: 256 x 256 outdoor scenes with 33 semantic and 3 geometric classes (sky, horizontal, vertical)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from netspec.data.dataset import FileDataset, Mean, Part
from netspec.data.pixels import from_one, label_blob, read_bgr, read_mat_label

MEAN: Mean = (114.578, 115.294, 108.353)  # B, G, R
TOPS = ("data", "sem", "geo")
CLASSES = {"sem": 33, "geo": 3}
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"


def siftflow(siftflow_dir: Path, split: str) -> FileDataset:
    """Tops data, sem and geo of the split list SPLIT.txt; label files count from 1 with 0 (geometric: -1) void."""
    images, semantic, geometric = (siftflow_dir / kind / SCENES for kind in ("Images", "SemanticLabels", "GeoLabels"))
    parts = {
        "data": Part(lambda name: images / f"{name}.jpg", partial(read_bgr, mean=MEAN)),
        "sem": Part(lambda name: semantic / f"{name}.mat", _read_semantic, CLASSES["sem"]),
        "geo": Part(lambda name: geometric / f"{name}.mat", _read_geometric, CLASSES["geo"]),
    }
    return FileDataset("SIFT Flow", siftflow_dir / f"{split}.txt", parts)


def _read_semantic(path: Path) -> np.ndarray:
    return label_blob(from_one(read_mat_label(path, "S")))


def _read_geometric(path: Path) -> np.ndarray:
    label = read_mat_label(path, "S")
    return label_blob(from_one(np.where(label == -1, 0, label)))
