"""PriorBox: the boxes that detections are described relative to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch

SAME_RATIO = 1e-6


class PriorBox(Layer):
    """Boxes around every cell of the first bottom, in shares of the image.

    Per min_size: a square of that side, with max_size one of side √(min_size max_size), and per aspect_ratio r a box of
    min_size √r x min_size / √r. flip adds 1 / r for every r. Sizes count in whole pixels, rounded down. Cell (y, x)
    has its centre at (x + offset) step, (y + offset) step pixels; without step, it is the image's size over the
    bottom's. clip cuts boxes at the image.
    Shapes: N x C x H x W (cells), N x C x H' x W' (the image) -> 1 x 2 x 4 · boxes: the boxes, row by row and cell by
        cell, and their variances (0.1 unless given: once for all, or four).
    Errors: no min_size; max_size of another number, or not greater; variance not given 0, 1 or 4 times; sizes or steps
        that are not positive, or given in two ways; bottoms that have not four axes.
    Source: SSD's PriorBox (Liu et al. 2016). No gradient.
    """

    settings = "prior_box_param"
    bottoms = (2, 2)

    def setup(self) -> None:
        p = self.p
        if not p.min_size:
            raise self.fail("min_size is missing", "min_size")
        if len(p.max_size) not in (0, len(p.min_size)):
            raise self.fail(
                f"{len(p.max_size)} max_size for {len(p.min_size)} min_size; give none, or as many", "max_size"
            )
        for least, most in zip(p.min_size, p.max_size, strict=False):
            if most <= least:
                raise self.fail(f"max_size {most:g} must be greater than min_size {least:g}", "max_size")
        if len(p.variance) not in (0, 1, 4):
            raise self.fail(
                f"variance is given {counted(len(p.variance), 'time')}; give it once or 4 times", "variance"
            )
        for field in ("min_size", "aspect_ratio", "variance"):
            for value in getattr(p, field):
                if value <= 0:
                    raise self.fail(f"{field} {value:g} must be positive", field)
        self.image = self.pair("img_h", "img_w", "img_size")
        self.step = self.pair("step_h", "step_w", "step")

    def pair(self, first: str, second: str, both: str) -> tuple[float, float] | None:
        """Height and width, given apart or as one; None where not given."""
        p = self.p
        apart = [p.HasField(field) for field in (first, second)]
        if any(apart) and p.HasField(both):
            raise self.fail(f"give {both}, or {first} and {second}, not both", both)
        if not any(apart) and not p.HasField(both):
            return None
        names = (first, second) if any(apart) else (both, both)
        for field in names:
            if getattr(p, field) <= 0:
                raise self.fail(f"{field} {getattr(p, field):g} must be positive", field)
        return getattr(p, names[0]), getattr(p, names[1])

    def ratios(self) -> list[float]:
        """Aspect ratios besides 1, each once."""
        found = [1.0]
        for ratio in self.p.aspect_ratio:
            if all(abs(ratio - known) >= SAME_RATIO for known in found):
                found += [ratio, 1 / ratio] if self.p.flip else [ratio]
        return found[1:]

    def sizes(self) -> np.ndarray:
        """Widths and heights in pixels of one cell's boxes, n x 2."""
        rows: list[tuple[float, float]] = []
        for i, size in enumerate(int(s) for s in self.p.min_size):
            rows.append((size, size))
            if self.p.max_size:
                side = (size * int(self.p.max_size[i])) ** 0.5
                rows.append((side, side))
            rows += [(size * ratio**0.5, size / ratio**0.5) for ratio in self.ratios()]
        return np.array(rows, np.float64)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for shape in bottoms:
            if len(shape) != 4:
                raise self.fail(f"bottom {list(shape)} must have four axes: images, channels, height, width")
        return [(1, 2, 4 * bottoms[0][2] * bottoms[0][3] * len(self.sizes()))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        values = self.values(tuple(x.shape[2:]), tuple(bottoms[1].shape[2:]))
        return [torch.from_numpy(values).to(x.device, x.dtype)]

    def values(self, cells: Shape, image: Shape) -> np.ndarray:
        """The top's values for a grid of cells (H, W) and an image (H, W)."""
        height, width = self.image or image
        step_h, step_w = self.step or (height / cells[0], width / cells[1])
        y, x = np.meshgrid(*(np.arange(n) + self.p.offset for n in cells), indexing="ij")
        centre = np.stack([x * step_w, y * step_h], -1)[:, :, None]
        half = self.sizes() / 2
        boxes = np.concatenate([centre - half, centre + half], -1) / (width, height, width, height)
        if self.p.clip:
            boxes = boxes.clip(0, 1)
        variance = np.array(self.p.variance or [0.1], np.float64)
        variances = np.broadcast_to(variance, boxes.shape)
        return np.stack([boxes.ravel(), variances.ravel()])[None].astype(np.float32)

    def gradient_to(self, bottom: int) -> bool:
        return False
