"""ROIPooling: the maxima of a region of interest, in a grid of fixed size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.layers.rois import away_from_zero, check_rois, example_rois, read_rois
from netspec.lazytorch import torch


class ROIPooling(Layer):
    """top(r, c, i, j) = the maximum of channel c over cell (i, j) of region r, of a pooled_h x pooled_w grid.

    A region's corners times spatial_scale are rounded; it is at least one pixel high and wide, its last pixel included.
    Cell i takes rows floor(i h / pooled_h) up to, without, ceil((i + 1) h / pooled_h) of the region's h, cut at the
    bottom's border; an empty cell is 0. Of equal values, the first in row order gets the gradient.
    Shapes: N x C x H x W, regions R x 5 -> R x C x pooled_h x pooled_w.
    Errors: pooled_h or pooled_w of 0, bottoms of another form, a region of an image that is not there.
    Source: Fast R-CNN's ROIPooling (Girshick 2015). Regions take no gradient.
    """

    settings = "roi_pooling_param"
    bottoms = (2, 2)

    def setup(self) -> None:
        size = list(self.p.pooled_size)
        if size and len(size) != 2:
            raise self.fail(
                f"pooled_size is given {counted(len(size), 'time')}; regions of two axes want it twice", "pooled_size"
            )
        self.grid: tuple[int, int] = (size[0], size[1]) if size else (self.p.pooled_h, self.p.pooled_w)
        for field, value in zip(("pooled_h", "pooled_w"), self.grid, strict=True):
            if value < 1:
                raise self.fail(f"{field} must be at least 1", "pooled_size" if size else field)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [(check_rois(self, bottoms), bottoms[0][1], *self.grid)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        image, corners = read_rois(bottoms[1], len(x))
        starts, ends = self.cells(corners, tuple(x.shape[2:]))
        place = x.new_full((len(image), x.shape[1], *self.grid), -1, dtype=torch.int64)
        with torch.no_grad():
            for r, number in enumerate(image):
                place[r] = self.winners(x[number], starts[r], ends[r])
        channel = torch.arange(x.shape[1], device=x.device)[:, None, None]
        plane = torch.from_numpy(image).to(x.device)[:, None, None, None] * x.shape[1] + channel
        values = x.reshape(-1)[plane * x.shape[2:].numel() + place.clamp(min=0)]
        return [torch.where(place < 0, 0, values)]

    def cells(self, corners: np.ndarray, size: Shape) -> tuple[np.ndarray, np.ndarray]:
        """First and last-but-one rows and columns of every region's cells: R x 2 x grid, as objects of two lengths."""
        scaled = away_from_zero(corners * np.float32(self.p.spatial_scale)).astype(np.int64)
        first, last = scaled[:, [1, 0]], scaled[:, [3, 2]]
        extent = np.maximum(last - first + 1, 1).astype(np.float32)
        starts = np.empty((len(corners), 2), object)
        ends = np.empty((len(corners), 2), object)
        for axis, cells in enumerate(self.grid):
            step = extent[:, axis] / np.float32(cells)
            index = np.arange(cells, dtype=np.float32)
            low = np.floor(index * step[:, None]).astype(np.int64) + first[:, axis, None]
            high = np.ceil((index + 1) * step[:, None]).astype(np.int64) + first[:, axis, None]
            for r in range(len(corners)):
                starts[r, axis], ends[r, axis] = low[r].clip(0, size[axis]), high[r].clip(0, size[axis])
        return starts, ends

    def winners(self, x: torch.Tensor, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """Where in its plane each cell's maximum stands, C x grid; −1 for an empty cell.

        The best of each row's columns first, then the best row: so the first in row order wins.
        """
        channels, width = x.shape[0], x.shape[2]
        out = x.new_full((channels, *self.grid), -1, dtype=torch.int64)
        for j, (left, right) in enumerate(zip(starts[1], ends[1], strict=True)):
            if left >= right:
                continue
            best, column = x[:, :, left:right].max(2)
            for i, (top, bottom) in enumerate(zip(starts[0], ends[0], strict=True)):
                if top < bottom:
                    row = best[:, top:bottom].argmax(1, keepdim=True) + int(top)
                    out[:, i, j] = (row * width + column.gather(1, row) + int(left))[:, 0]
        return out

    def plausible(self, bottom: int, shape: Shape) -> np.ndarray | None:
        return example_rois(shape) if bottom == 1 else None

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0
