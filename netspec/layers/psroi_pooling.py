"""PSROIPooling: the means of a region of interest, every cell of the grid from channels of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.layers.base import Layer, Shape
from netspec.layers.rois import away_from_zero, check_rois, example_rois, read_rois
from netspec.lazytorch import torch

LEAST_EXTENT = np.float32(0.1)


class PSROIPooling(Layer):
    """top(r, d, i, j) = the mean over cell (i, j) of region r of channel (d g + i) g + j, with g = group_size.

    A region's corners are rounded, its last pixel included, then scaled by spatial_scale; it is at least 0.1 high and
    wide. Cell i reaches from floor(i h / g) to ceil((i + 1) h / g) rows below its start (rounded after adding it), cut
    at the bottom's border; an empty cell is 0.
    Shapes: N x output_dim g² x H x W, regions R x 5 -> R x output_dim x g x g.
    Errors: a setting missing or not positive; another number of channels; bottoms of another form; a region of an image
        that is not there.
    Source: R-FCN's PSROIPooling (Dai et al. 2016). Regions take no gradient.
    """

    settings = "psroi_pooling_param"
    bottoms = (2, 2)

    def setup(self) -> None:
        for field in ("spatial_scale", "output_dim", "group_size"):
            if getattr(self.p, field) <= 0:
                raise self.fail(f"{field} {getattr(self.p, field):g} must be given and positive", field)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        regions = check_rois(self, bottoms)
        grid, depth = self.p.group_size, self.p.output_dim
        if bottoms[0][1] != depth * grid * grid:
            raise self.fail(
                f"bottom {list(bottoms[0])} must have output_dim · group_size² = {depth * grid * grid} channels",
                "output_dim",
            )
        return [(regions, depth, grid, grid)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, grid = bottoms[0], self.p.group_size
        image, corners = read_rois(bottoms[1], len(x))
        (top, bottom), (left, right) = (
            [torch.from_numpy(e).to(x.device) for e in self.edges(corners, axis, x.shape[2 + axis])] for axis in (0, 1)
        )
        depth = torch.arange(self.p.output_dim, device=x.device)[:, None, None]
        cell = torch.arange(grid, device=x.device)
        channel = (depth * grid + cell[:, None]) * grid + cell
        plane = (torch.from_numpy(image).to(x.device)[:, None, None, None] * x.shape[1] + channel).long()
        sums = torch.zeros(x.shape[0], x.shape[1], x.shape[2] + 1, x.shape[3] + 1, dtype=torch.float64, device=x.device)
        sums[:, :, 1:, 1:] = x.double().cumsum(2).cumsum(3)
        flat, (height, width) = sums.flatten(0, 1).flatten(), sums.shape[2:]

        def corner(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
            return flat[(plane * height + rows[:, None, :, None]) * width + columns[:, None, None, :]]

        total = corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)
        area = (bottom - top).clamp(min=0)[:, None, :, None] * (right - left).clamp(min=0)[:, None, None, :]
        return [torch.where(area > 0, total / area.clamp(min=1), 0).to(x.dtype)]

    def edges(self, corners: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Where every region's cells start and end along an axis (0: rows), R x group_size each."""
        scale, grid = np.float32(self.p.spatial_scale), self.p.group_size
        start = away_from_zero(corners[:, 1 - axis]) * scale
        end = (away_from_zero(corners[:, 3 - axis]) + np.float32(1)) * scale
        step = (np.maximum(end - start, LEAST_EXTENT) / np.float32(grid))[:, None]
        index = np.arange(grid, dtype=np.float32)
        low = np.floor(index * step + start[:, None]).clip(0, size)
        high = np.ceil((index + 1) * step + start[:, None]).clip(0, size)
        return low.astype(np.int64), high.astype(np.int64)

    def plausible(self, bottom: int, shape: Shape) -> np.ndarray | None:
        return example_rois(shape) if bottom == 1 else None

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0
