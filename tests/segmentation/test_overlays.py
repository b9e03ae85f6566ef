"""Palettes, label images, overlays and grids."""

import numpy as np
import pytest
from PIL import Image

from netspec.errors import SpecError
from netspec.segmentation.overlay import comparison, grid, overlay
from netspec.segmentation.palette import (
    NYUD_CLASSES,
    PASCAL_CONTEXT_CLASSES,
    SIFTFLOW_CLASSES,
    VOC_CLASSES,
    class_names,
    colours,
    to_palette_png,
    voc_palette,
)


def test_names():
    assert [len(names) for names in (VOC_CLASSES, PASCAL_CONTEXT_CLASSES, NYUD_CLASSES, SIFTFLOW_CLASSES)] == [
        21,
        60,
        40,
        33,
    ]
    assert VOC_CLASSES[15] == "person" and NYUD_CLASSES[19] == "floor mat" and SIFTFLOW_CLASSES[27] == "sky"
    assert class_names(21) is VOC_CLASSES and class_names(2) == ("class 0", "class 1")


def test_palette():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    palette = voc_palette()
    assert {k: tuple(palette[k]) for k in known} == known
    assert len({tuple(c) for c in palette}) == 256


def test_label_images_are_exact(tmp_path):
    label = np.arange(256).reshape(8, 32)
    to_palette_png(label.astype(np.float32), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        np.testing.assert_array_equal(np.asarray(image), label)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours(label))
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("label", [np.full((2, 2), 256), np.full((2, 2), -1), np.zeros((1, 2, 2))])
def test_label_images_of_other_values_are_refused(tmp_path, label):
    with pytest.raises(SpecError, match=r"values 0..255 in H x W"):
        to_palette_png(label, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def scene():
    label = np.zeros((60, 80), dtype=np.uint8)
    label[10:40, 10:40], label[10:40, 40:44], label[10:40, 44:70] = 15, 255, 20
    return np.full((60, 80, 3), 100, dtype=np.uint8), label


def test_overlay_tints_classes_and_leaves_the_rest():
    image, label = scene()
    plain = np.asarray(overlay(image, label, alpha=0.5, legend=False))
    assert plain.shape == image.shape
    assert tuple(plain[20, 20]) == (146, 114, 114) and tuple(plain[20, 42]) == (100, 100, 100)
    assert tuple(plain[50, 5]) == (100, 100, 100) and tuple(plain[20, 9]) == (255, 255, 255)
    everything = np.asarray(overlay(image, label, alpha=0.5, background=None, legend=False))
    assert tuple(everything[50, 5]) == (50, 50, 50)


def test_legend_stands_below_and_has_every_colour():
    image, label = scene()
    picture = np.asarray(overlay(image, label))
    assert picture.shape[0] > 60 and picture.shape[1] >= 80
    below = {tuple(c) for c in picture[60:].reshape(-1, 3)}
    assert {(192, 128, 128), (0, 64, 128)} <= below and (128, 0, 0) not in below
    narrow, wide = overlay(image, label), overlay(np.repeat(image, 4, 1), np.repeat(label, 4, 1))
    assert narrow.height > wide.height


def test_overlay_of_unnamed_classes_and_of_none():
    image, label = scene()
    assert overlay(image, label, names=("a", "b")).height > 60
    assert overlay(image, np.zeros((60, 80))).size == (80, 60)
    with pytest.raises(SpecError, match="cannot bear"):
        overlay(image, label[:30])


def test_grid_places_every_picture():
    image, label = scene()
    sheet = np.asarray(grid([comparison(image, label, label[None, None])] * 2))
    rows = [y for y in range(sheet.shape[0]) if (sheet[y, 8] == (100, 100, 100)).all()]
    assert len(rows) == 120 and sheet.shape[1] == 3 * 80 + 4 * 8
    assert tuple(sheet[rows[20], 8 + 88 + 20]) == (192, 128, 128)
    assert grid([[Image.new("RGB", (5, 5))], [Image.new("RGB", (9, 3))] * 2], []).size == (9 + 9 + 24, 5 + 3 + 24)
    with pytest.raises(SpecError, match="at least one"):
        grid([])
