"""NYUDv2: colour, depth and HHA (disparity, height, angle) images of rooms, and labels of 40 classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from netspec.data.dataset import FileDataset, Mean, Part
from netspec.data.pixels import from_one, label_blob, read_bgr, read_depth, read_kept, read_mat_label

MEAN: Mean = (116.190, 97.203, 92.318)  # B, G, R
HHA_MEAN: Mean = (132.431, 94.076, 118.477)  # in the file's order of channels
LOG_DEPTH_MEAN = 7.844
TOPS = ("color", "depth", "hha", "label")
CLASSES = 40


def nyud(nyud_dir: Path, split: str, tops: Sequence[str]) -> FileDataset:
    """The named tops of the split list SPLIT.txt; label files count from 1 with 0 void."""
    data = nyud_dir / "data"
    parts = {
        "color": Part(lambda name: data / "images" / f"img_{name}.png", partial(read_bgr, mean=MEAN)),
        "depth": Part(lambda name: data / "depth" / f"img_{name}.png", partial(read_depth, mean=LOG_DEPTH_MEAN)),
        "hha": Part(lambda name: data / "hha" / f"img_{name}.png", partial(read_kept, mean=HHA_MEAN)),
        "label": Part(lambda name: nyud_dir / "segmentation" / f"img_{name}.mat", _read_label, CLASSES),
    }
    return FileDataset("NYUDv2", nyud_dir / f"{split}.txt", {top: parts[top] for top in tops})


def _read_label(path: Path) -> np.ndarray:
    return label_blob(from_one(read_mat_label(path, "segmentation")))
