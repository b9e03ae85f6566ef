"""Pictures of segmentations: label colours over the image with a legend, and grids of image, truth and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from netspec.data.classes import VOC_CLASSES, VOID
from netspec.errors import SpecError
from netspec.segmentation.palette import colours

TEXT, PAPER, LINE = (30, 30, 30), (255, 255, 255), (255, 255, 255)


def overlay(
    image: np.ndarray,
    label: np.ndarray,
    names: Sequence[str] = VOC_CLASSES,
    *,
    alpha: float = 0.55,
    background: int | None = 0,
    legend: bool = True,
) -> Image.Image:
    """image (1 - alpha) + colour alpha where label is neither `background` nor void; white lines between classes.

    image H x W x 3 uint8 RGB, label H x W of class numbers. The legend stands below and names the classes present.
    """
    rgb, label = np.asarray(image), np.squeeze(np.asarray(label)).astype(np.int64)
    if rgb.shape != (*label.shape, 3):
        raise SpecError(f"an image of shape {rgb.shape} cannot bear a label of shape {label.shape}")
    tinted = (label != VOID) if background is None else (label != VOID) & (label != background)
    part = alpha * tinted[:, :, None]
    mixed = np.rint(rgb * (1 - part) + colours(label) * part)
    mixed[_lines(label)] = LINE
    picture = Image.fromarray(mixed.astype(np.uint8))
    present = [int(k) for k in np.unique(label[tinted])]
    return _stacked(picture, _legend(present, names, picture.width)) if legend and present else picture


def grid(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str] = ("image", "truth", "prediction"), *, gap: int = 8
) -> Image.Image:
    """Rows of pictures, each centred in its cell, on white; `titles` stand above the columns (none: an empty list)."""
    if not rows or not all(rows):
        raise SpecError("a grid of pictures needs at least one row, and one picture in each")
    columns = max(len(row) for row in rows)
    widths = [max(row[c].width for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    font, top = _font(14), gap + (22 if titles else 0)
    sheet = Image.new("RGB", (sum(widths) + gap * (columns + 1), sum(heights) + gap * len(rows) + top), PAPER)
    lefts = [gap + sum(widths[:c]) + gap * c for c in range(columns)]
    for left, width, title in zip(lefts, widths, titles, strict=False):
        ImageDraw.Draw(sheet).text((left + width // 2, gap), title, TEXT, font, anchor="ma")
    for row, height in zip(rows, heights, strict=True):
        for left, width, picture in zip(lefts, widths, row, strict=False):
            sheet.paste(picture, (left + (width - picture.width) // 2, top))
        top += height + gap
    return sheet


def comparison(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> list[Image.Image]:
    """A row for `grid`: the image, the truth and the prediction in their colours."""
    return [
        Image.fromarray(np.asarray(a)) for a in (image, colours(np.squeeze(truth)), colours(np.squeeze(prediction)))
    ]


def _lines(label: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour has another class; void draws no lines."""
    lines = np.zeros(label.shape, dtype=bool)
    for axis in (0, 1):
        a, b = (np.delete(label, where, axis) for where in (-1, 0))
        differs = (a != b) & (a != VOID) & (b != VOID)
        lines |= np.pad(differs, [(0, int(axis == k)) for k in (0, 1)])
    return lines


def _legend(present: Sequence[int], names: Sequence[str], width: int) -> Image.Image:
    """A swatch and a name for each class, as many in a line as fit into `width`."""
    font, side, gap = _font(13), 12, 6
    texts = [names[k] if k < len(names) else f"class {k}" for k in present]
    lengths = [side + gap + int(font.getlength(text)) + 2 * gap for text in texts]
    x, y, places = gap, gap, []
    for length in lengths:
        if x > gap and x + length > width:
            x, y = gap, y + side + gap
        places.append((x, y))
        x += length
    sheet = Image.new("RGB", (max(width, max(lengths) + gap), y + side + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    palette = colours(np.array(present))
    for (x, y), text, colour in zip(places, texts, palette, strict=True):
        draw.rectangle((x, y, x + side, y + side), tuple(colour.tolist()), TEXT)
        draw.text((x + side + gap, y + side // 2), text, TEXT, font, anchor="lm")
    return sheet


def _stacked(above: Image.Image, below: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (max(above.width, below.width), above.height + below.height), PAPER)
    sheet.paste(above, (0, 0))
    sheet.paste(below, (0, above.height))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
