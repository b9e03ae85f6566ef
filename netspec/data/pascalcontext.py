"""PASCAL-Context: full labels for VOC 2010, of 400 and more classes; those among the 59 count, the rest is 0."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from netspec.data.dataset import FileDataset, Mean, Part, reading
from netspec.data.pixels import label_blob, read_bgr, read_mat_label
from netspec.errors import Loc, SpecError, suggestion

MEAN: Mean = (104.007, 116.669, 122.679)  # B, G, R
CLASSES = 60
ALIASES = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}  # name in the 59: name in the file's


def pascalcontext(voc_dir: Path, context_dir: Path, split: str) -> FileDataset:
    """Tops data and label of VOC2010's split list ImageSets/Main/SPLIT.txt."""
    voc2010 = voc_dir / "VOC2010"
    mapping = class_mapping(context_dir / "labels.txt", context_dir / "59_labels.txt")
    parts = {
        "data": Part(lambda name: voc2010 / "JPEGImages" / f"{name}.jpg", partial(read_bgr, mean=MEAN)),
        "label": Part(
            lambda name: context_dir / "trainval" / f"{name}.mat", partial(_read_label, mapping=mapping), CLASSES
        ),
    }
    return FileDataset("PASCAL-Context", voc2010 / "ImageSets" / "Main" / f"{split}.txt", parts)


def class_mapping(all_labels: Path, labels_59: Path) -> np.ndarray:
    """mapping[number in the label files] = number among the 59 (1..59), 0 for the rest; matched by name."""
    numbers = {name: number for number, name in read_names(all_labels).items()}
    mapping = np.zeros(max(numbers.values()) + 1, dtype=np.int64)
    for number, name in read_names(labels_59).items():
        name = ALIASES.get(name, name)
        if number and name not in numbers:
            raise SpecError(f"{labels_59} has class '{name}', which {all_labels} lacks{suggestion(name, numbers)}")
        if number >= CLASSES:
            raise SpecError(f"{labels_59} has class number {number}, 1..{CLASSES - 1} are allowed")
        if number:
            mapping[numbers[name]] = number
    return mapping


def read_names(path: Path) -> dict[int, str]:
    """Lines `number: name` as number -> name without spaces."""
    names: dict[int, str] = {}
    for place, line in enumerate(reading(path, lambda: path.read_text("utf-8-sig")).splitlines(), 1):
        number, colon, name = line.replace(" ", "").partition(":")
        if not line.strip():
            continue
        if not colon or not name or not (number.isascii() and number.isdigit()) or len(number) > 4:
            raise SpecError(f"line is {line[:60]!r}, 'number: name' is wanted", Loc(str(path), place))
        names[int(number)] = name
    if not names:
        raise SpecError(f"{path} names no classes")
    return names


def _read_label(path: Path, mapping: np.ndarray) -> np.ndarray:
    label = read_mat_label(path, "LabelMap")
    wrong = label[(label < 0) | (label >= len(mapping))]
    if wrong.size:
        raise SpecError(f"{path} has class {wrong[0]} at {wrong.size} pixels, 0..{len(mapping) - 1} are known")
    return label_blob(mapping[label])
