"""PASCAL VOC segmentation: JPEGImages/ID.jpg and SegmentationClass/ID.png, whose palette indices are the labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from netspec.data.dataset import FileDataset, Mean, Part
from netspec.data.pixels import read_bgr, read_indexed_label


def voc(voc_dir: Path, split: str, mean: Mean, classes: int = 21) -> FileDataset:
    """Tops data and label of the split list ImageSets/Segmentation/SPLIT.txt; `mean` in B, G, R."""
    parts = {
        "data": Part(lambda name: voc_dir / "JPEGImages" / f"{name}.jpg", partial(read_bgr, mean=mean)),
        "label": Part(lambda name: voc_dir / "SegmentationClass" / f"{name}.png", read_indexed_label, classes),
    }
    return FileDataset("PASCAL VOC", voc_dir / "ImageSets" / "Segmentation" / f"{split}.txt", parts)
