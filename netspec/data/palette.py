"""The palette of PASCAL VOC, and label images that carry it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from netspec.errors import SpecError


def voc_palette() -> np.ndarray:
    """Colour of k: bits 0, 3, 6 of k are the highest bits of R, bits 1, 4, 7 of G, bits 2, 5 of B. 256 x 3, uint8."""
    k = np.arange(256)[:, None] >> np.arange(3)
    colour = sum((k >> 3 * place & 1) << (7 - place) for place in range(3))
    return np.asarray(colour, dtype=np.uint8)


def to_palette_png(label: np.ndarray, path: Path) -> None:
    """Writes labels H x W (0..255, any number type) as a PNG of palette indices with VOC's colours."""
    values = np.asarray(label)
    if values.ndim != 2 or not ((values >= 0) & (values <= 255)).all():
        raise SpecError(
            f"a label image needs values 0..255 in H x W, not {values.min():g}..{values.max():g} "
            f"in {' x '.join(map(str, values.shape))}"
        )
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(voc_palette().tobytes())
    write(path, lambda file: image.save(file, "PNG", optimize=True))


def write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """`save` into a temporary file beside `path`, then renamed: a stop leaves the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            save(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
