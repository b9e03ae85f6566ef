"""Windows of images and how far each overlaps an object, cropped and warped to one size: the data of R-CNN.

A window file holds, for each image, a line `# INDEX`, the image's name, its channels, height and width (a line each),
the number of windows, and for each window a line `CLASS OVERLAP X1 Y1 X2 Y2`: whole numbers of pixels, both corners
included.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netspec.data.datum import text
from netspec.data.imagelist import printable, read_lines
from netspec.data.images import decode, resize
from netspec.data.transform import check_mean_values
from netspec.errors import LayerError, Loc, SpecError


class Window(NamedTuple):
    """A window of the image-th image: class, overlap in 0..1, and corners in pixels, both included."""

    image: int
    label: int
    overlap: float
    box: tuple[int, int, int, int]


@dataclass
class WindowFile:
    """The images' names with their channels, and all windows."""

    images: list[str]
    channels: int
    windows: list[Window]


def read_windows(path: Path) -> WindowFile:
    """A window file; SpecError names the line that is wrong."""
    images, channels, windows = [], 0, []
    lines = _Lines(path)
    while lines.more():
        lines.header()
        images.append(lines.take("an image's name"))
        channels = int(lines.numbers("the number of channels", 1)[0])
        lines.numbers("the height", 1)
        lines.numbers("the width", 1)
        for _ in range(int(lines.numbers("the number of windows", 1)[0])):
            label, overlap, *box = lines.numbers("CLASS OVERLAP X1 Y1 X2 Y2", 6)
            x1, y1, x2, y2 = (int(v) for v in box)
            if x2 < x1 or y2 < y1:
                raise SpecError(f"the window {x1} {y1} {x2} {y2} is empty", lines.loc)
            windows.append(Window(len(images) - 1, int(label), float(np.float32(overlap)), (x1, y1, x2, y2)))
    if not windows:
        raise SpecError("the file has no windows", Loc(str(path)))
    return WindowFile(images, channels, windows)


class _Lines:
    """The lines of a window file that are not blank, and the place of the one taken last."""

    def __init__(self, path: Path) -> None:
        self.path, self.loc = str(path), Loc(str(path))
        self._lines = [(n, line.strip()) for n, line in enumerate(read_lines(path), 1) if line.strip()]
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._lines)

    def take(self, what: str) -> str:
        if not self.more():
            raise SpecError(f"the file ends where {what} should follow", Loc(self.path))
        number, line = self._lines[self._at]
        self._at, self.loc = self._at + 1, Loc(self.path, number)
        return line

    def header(self) -> None:
        line = self.take("'# INDEX'")
        if not line.startswith("#"):
            raise SpecError(f"'# INDEX' is wanted before each image, not {printable(line)!r}", self.loc)

    def numbers(self, what: str, count: int) -> list[float]:
        line = self.take(what)
        try:
            values = [float(v) for v in line.split()]
        except ValueError:
            values = []
        whole = values[:1] + values[2:]
        if len(values) != count or not np.isfinite(values).all() or any(v != int(v) or abs(v) > 2**31 for v in whole):
            raise SpecError(f"{what} is wanted here, not {printable(line)!r}", self.loc)
        return values


@dataclass(frozen=True)
class Warp:
    """How a window becomes C x size x size: what `place` says is cropped out, resized, mirrored, and set into zeros.

    `context_pad` pixels of the result on every side show what is around the window; `square` takes the tightest
    square around it. `mean`: C x H x W, whose centre of size x size is used.
    """

    size: int
    context_pad: int = 0
    square: bool = False
    mean: np.ndarray | None = None
    mean_values: tuple[float, ...] = ()
    scale: float = 1.0

    def __call__(self, pixels: np.ndarray, box: Sequence[int], flip: bool, where: str) -> np.ndarray:
        """H x W x C uint8 -> C x size x size float32."""
        (x1, y1, x2, y2), (left, top), (height, width) = self.place(box, pixels.shape[:2], flip, where)
        part = resize(pixels[y1 : y2 + 1, x1 : x2 + 1], height, width).astype(np.float32).transpose(2, 0, 1)
        out = np.zeros((len(part), self.size, self.size), np.float32)
        rows, columns = slice(top, top + height), slice(left, left + width)
        out[:, rows, columns] = (part[:, :, ::-1] if flip else part) - self._mean(len(part), rows, columns, where)
        return out * np.float32(self.scale)

    def _mean(self, channels: int, rows: slice, columns: slice, where: str) -> Any:
        check_mean_values(self.mean_values, channels)
        if self.mean is None:
            return np.array(self.mean_values or [0], np.float32)[:, None, None]
        start = (self.mean.shape[2] - self.size) // 2
        centre = self.mean[:, max(start, 0) :, max(start, 0) :][:, : self.size, : self.size]
        if centre.shape != (channels, self.size, self.size):
            message = f"the mean image is {text(self.mean.shape)}; {where} needs {channels} channels of {self.size}"
            raise LayerError(message, field="transform_param.mean_file")
        return centre[:, rows, columns]

    def place(
        self, box: Sequence[int], image: Sequence[int], flip: bool, where: str
    ) -> tuple[tuple[int, int, int, int], tuple[int, int], tuple[int, int]]:
        """The part of the image (corners included), the padding left and above, and the size it is warped to."""
        x1, y1, x2, y2 = box
        left = top = 0
        height = width = self.size
        if self.context_pad or self.square:
            across, down = self._grow(x1, x2, y1, y2)
            x1, x2, left, right, width = self._clip(*across, image[1])
            y1, y2, top, _, height = self._clip(*down, image[0])
            left = right if flip else left
            width, height = min(width, self.size - left), min(height, self.size - top)
        if not (0 <= x1 <= x2 < image[1] and 0 <= y1 <= y2 < image[0] and width > 0 and height > 0):
            corners = " ".join(map(str, box))
            raise SpecError(f"window {corners} of {where} leaves the image of {image[1]} x {image[0]}")
        return (x1, y1, x2, y2), (left, top), (height, width)

    def _grow(self, x1: int, x2: int, y1: int, y2: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The region that, warped to `size`, has `context_pad` pixels around the window; it may leave the image."""
        one = np.float32
        grow = one(self.size) / one(self.size - 2 * self.context_pad)
        half_width, half_height = one(x2 - x1 + 1) / one(2), one(y2 - y1 + 1) / one(2)
        x, y = one(x1) + half_width, one(y1) + half_height
        if self.square:
            half_width = half_height = max(half_width, half_height)
        across = nearest(x - half_width * grow), nearest(x + half_width * grow)
        return across, (nearest(y - half_height * grow), nearest(y + half_height * grow))

    def _clip(self, start: int, end: int, size: int) -> tuple[int, int, int, int, int]:
        """The part of start..end inside 0..size-1, the pixels before and after it in the result, its size there."""
        factor = np.float32(self.size) / np.float32(end - start + 1)
        before, after = max(0, -start), max(0, end - size + 1)
        start, end = start + before, end - after
        extent = nearest(np.float32(end - start + 1) * factor)
        before, after = nearest(np.float32(before) * factor), nearest(np.float32(after) * factor)
        return start, end, before, after, extent


def nearest(value: Any) -> int:
    """Rounded, halves away from zero."""
    return int(np.copysign(np.floor(np.abs(value) + np.float32(0.5)), value))


class Choice:
    """Which windows make a batch: first background (overlap below `bg`), then `foreground` ones (overlap from `fg`)."""

    def __init__(self, windows: Sequence[Window], fg: float, bg: float, batch: int, fraction: float) -> None:
        self.foreground = [w for w in windows if w.overlap >= fg]
        self.background = [w for w in windows if w.overlap < min(fg, bg)]
        self.first = batch - int(np.float32(batch) * np.float32(fraction))
        for window in self.foreground:
            if window.label < 1:
                raise SpecError(
                    f"a window with overlap {window.overlap:g} has class {window.label}; 1 or more is wanted"
                )
        if self.first < batch and not self.foreground:
            raise SpecError(f"no window has an overlap of fg_threshold {fg:g} or more")
        if self.first and not self.background:
            raise SpecError(f"no window has an overlap below bg_threshold {bg:g}")

    def __call__(self, slot: int, draw: random.Random) -> tuple[Window, int]:
        """The window for a place in the batch, and its label; 0 is background."""
        if slot < self.first:
            return draw.choice(self.background), 0
        window = draw.choice(self.foreground)
        return window, window.label


class Loader:
    """Loads the windows of a batch: data N x C x size x size, labels N. Windows are drawn with replacement."""

    def __init__(
        self, file: WindowFile, choice: Choice, warp: Warp, mirror: bool, find: Callable[[str], Path], cache: bool
    ) -> None:
        self.file, self.choice, self.warp, self.mirror, self.find = file, choice, warp, mirror, find
        self.cached: dict[int, bytes] | None = {} if cache else None

    def __call__(self, job: Sequence[tuple[int, str]]) -> list[np.ndarray]:
        data, labels = zip(*self._items(job), strict=True)
        return [np.stack(data), np.array(labels, np.float32)]

    def _items(self, job: Sequence[tuple[int, str]]) -> Iterator[tuple[np.ndarray, int]]:
        for slot, (_, key) in enumerate(job):
            draw = random.Random(key)
            window, label = self.choice(slot, draw)
            flip = self.mirror and draw.random() < 0.5
            name = self.file.images[window.image]
            yield self.warp(self._read(window.image, name), window.box, flip, f"'{printable(name)}'"), label

    def _read(self, image: int, name: str) -> np.ndarray:
        if self.cached is None:
            path = self.find(name)
            return decode(path, True, path)
        if image not in self.cached:
            self.cached[image] = self.find(name).read_bytes()
        return decode(self.cached[image], True, printable(name))
