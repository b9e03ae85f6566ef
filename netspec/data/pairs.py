"""Images and the labels of their pixels, resized, cropped and mirrored alike.

Whatever is random depends on a key alone, so that an item comes out alike in any thread, by any worker, and after a
resume. Pixels are H x W x C uint8 in blue, green, red; labels H x W.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netspec.data.batches import Job, check_count
from netspec.data.datum import text
from netspec.data.imagelist import printable, read_lines
from netspec.data.images import resize
from netspec.data.transform import check_mean_values
from netspec.errors import Loc, SpecError


class Pair(NamedTuple):
    """A prepared item: data C x h x w, label 1 x h x w, the height and width of the image that count; its name."""

    data: np.ndarray
    label: np.ndarray
    size: tuple[int, int]
    where: str


@dataclass(frozen=True)
class Recipe:
    """(pixels − mean) · scale of an image resized to `size`, zoomed by one of `factors` and cropped, like its label.

    Zooming, random crops (else in the centre) and mirroring are for training; (0, 0) is no size. With `void` an image
    smaller than the crop is padded below and to the right: with the mean, its label with `void`. `divide` makes labels
    that many times smaller than the image.
    """

    size: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (0, 0)
    factors: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    scale: float = 1.0
    mirror: bool = False
    train: bool = False
    void: int | None = None
    divide: int = 1

    def __call__(self, pixels: np.ndarray, label: np.ndarray, key: str, where: str) -> Pair:
        draw = random.Random(key)
        pixels, label = self._resized(pixels, label, where)
        counts = pixels.shape[:2]
        if self.factors and self.train:
            factor = draw.choice(self.factors)
            size = tuple(max(1, round(n * factor)) for n in counts)
            pixels, label = resize(pixels, *size), nearest(label, size)
        check_mean_values(self.mean, pixels.shape[2])
        data = pixels.transpose(2, 0, 1).astype(np.float32)
        if self.mean:
            data -= np.array(self.mean, np.float32)[:, None, None]
        data, label = self._cropped(data * np.float32(self.scale), label[None].astype(np.float32), draw, where)
        if self.mirror and draw.random() < 0.5:
            data, label = data[:, :, ::-1], label[:, :, ::-1]
        return Pair(data, label, (min(counts[0], data.shape[1]), min(counts[1], data.shape[2])), where)

    def _resized(self, pixels: np.ndarray, label: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
        if self.size[0]:
            pixels = resize(pixels, *self.size)
        elif self.divide == 1 and label.shape != pixels.shape[:2]:
            raise SpecError(f"{where} is {text(pixels.shape[:2])} and its label {text(label.shape)}; they must agree")
        return pixels, nearest(label, tuple(n // self.divide for n in pixels.shape[:2]))

    def _cropped(
        self, data: np.ndarray, label: np.ndarray, draw: random.Random, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self.crop[0]:
            return data, label
        missing = [max(0, want - have) for want, have in zip(self.crop, data.shape[1:], strict=True)]
        if any(missing):
            if self.void is None:
                raise SpecError(f"a crop of {text(self.crop)} exceeds {where} of {text(data.shape[1:])}")
            below = ((0, 0), (0, missing[0]), (0, missing[1]))
            data, label = np.pad(data, below), np.pad(label, below, constant_values=self.void)
        rest = [have - want for want, have in zip(self.crop, data.shape[1:], strict=True)]
        top, left = [draw.randrange(n + 1) for n in rest] if self.train else [n // 2 for n in rest]
        window = (slice(None), slice(top, top + self.crop[0]), slice(left, left + self.crop[1]))
        return data[window], label[window]


def nearest(label: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resized without mixing: place i takes the value at floor(i · old / new)."""
    rows, columns = (np.arange(new) * old // new for old, new in zip(label.shape, size, strict=True))
    return label[rows[:, None], columns]


def read_pairs(path: Path, words: int) -> list[tuple[str, ...]]:
    """The lines of a list that holds `words` words a line; what follows them is left out, so are blank lines."""
    lines = []
    for number, line in enumerate(read_lines(path), 1):
        found = line.split()
        if found and len(found) < words:
            what = "an image and a label" if words == 2 else "an image"
            raise SpecError(f"{what} are wanted, not {printable(line)!r}", Loc(str(path), number))
        if found:
            lines.append(tuple(found[:words]))
    if not lines:
        raise SpecError("the list is empty", Loc(str(path)))
    return lines


def stack(load: Callable[[Any, str], Pair], tops: int, job: Job) -> list[np.ndarray]:
    """A job's data (N x C x h x w), labels (N x 1 x h x w), and sizes (N x 1 x 1 x 2), as many as there are tops."""
    pairs = [load(item, key) for item, key in job]
    for pair in pairs:
        if pair.data.shape != pairs[0].data.shape or pair.label.shape != pairs[0].label.shape:
            raise SpecError(
                f"{pair.where} is {text(pair.data.shape)}, but its batch began with {pairs[0].where} of "
                f"{text(pairs[0].data.shape)}; a crop, new_height and new_width, or batch_size 1 make them alike"
            )
    check_count((len(pairs), *pairs[0].data.shape))
    sizes = np.array([pair.size for pair in pairs], np.float32).reshape(-1, 1, 1, 2)
    return [np.stack([p.data for p in pairs]), np.stack([p.label for p in pairs]), sizes][:tops]
