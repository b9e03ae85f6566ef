"""Gaussian filtering over points with features, on the permutohedral lattice.

top[i] ≈ c Σ_j exp(−|f_i − f_j|² / 2) v[j]: values are shared out to the d + 1 lattice points around each point
(splat), blurred with 1/2, 1, 1/2 along the lattice's d + 1 directions, and collected again (slice). Only lattice points
near some point exist. Cost: O(N d C) steps and 8 N (d + 1) bytes of indices for N points of d features and C values
each, where the sum itself takes N² C.
Source: Adams, Baek and Davis 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from typing import Any

from netspec.errors import SpecError
from netspec.lazytorch import torch

MOST_BYTES = 1 << 26  # of lattice values at a time; further channels wait
MOST_CODES = 1 << 62


class Lattice:
    """The lattice of N x d features, which stand in units of the Gaussian's standard deviation."""

    def __init__(self, features: torch.Tensor) -> None:
        if not torch.isfinite(features).all():
            raise SpecError("the features of a Gaussian filter must be finite numbers")
        corner, rank, self.weights = enclose(elevate(features.detach().float()))
        codes, steps = number(corner, rank)
        cells, self.offsets = torch.unique(codes, return_inverse=True)
        self.count = len(cells)
        self.neighbours = [(self.find(cells, -step), self.find(cells, step)) for step in steps]

    def find(self, cells: torch.Tensor, step: int) -> torch.Tensor:
        """The index of each cell's neighbour; where there is none, that of a last cell which is always 0."""
        wanted = cells + step
        index = torch.searchsorted(cells, wanted).clamp(max=self.count - 1)
        index = torch.where(cells[index] == wanted, index, self.count)
        return torch.cat([index, index.new_full((1,), self.count)])

    def filter(self, values: torch.Tensor, adjoint: bool = False) -> torch.Tensor:
        """N x C values filtered, up to a factor; `adjoint` applies the transpose."""
        together = max(1, MOST_BYTES // (self.count * values.element_size()))
        return torch.cat([self._filter(part, adjoint) for part in values.split(together, 1)], 1)

    def _filter(self, values: torch.Tensor, adjoint: bool) -> torch.Tensor:
        weights = self.weights.to(values.dtype)
        grid = values.new_zeros(self.count + 1, values.shape[1])
        for offset, weight in zip(self.offsets.T, weights.T, strict=True):
            grid.index_add_(0, offset, values * weight[:, None])
        for before, after in reversed(self.neighbours) if adjoint else self.neighbours:
            grid = grid + (grid[before] + grid[after]) / 2
        corners = zip(self.offsets.T, weights.T, strict=True)
        return sum((grid[offset] * weight[:, None] for offset, weight in corners), torch.zeros_like(values))


def elevate(features: torch.Tensor) -> torch.Tensor:
    """N x d features -> N x (d + 1) coordinates that sum to 0, in units in which the blur has variance 1."""
    d = features.shape[1]
    i = torch.arange(d, dtype=torch.float32, device=features.device)
    scaled = features * (sqrt(2 / 3) * (d + 1) / ((i + 1) * (i + 2)).sqrt())
    rest = scaled.flip(1).cumsum(1).flip(1)
    rest = torch.cat([rest, torch.zeros_like(rest[:, :1])], 1)
    return rest - torch.cat([torch.zeros_like(scaled[:, :1]), scaled * (i + 1)], 1)


def enclose(elevated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The simplex around each point: its corner of remainder 0, the order of its coordinates, its corners' weights.

    All N x (d + 1); the weight at k belongs to the corner of remainder k.
    """
    sides = elevated.shape[1]
    near = (elevated / sides).round()
    difference = elevated - near * sides
    rank = difference.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    rank = rank + near.sum(1, keepdim=True).long()
    turn = (rank < 0).long() - (rank >= sides).long()
    rank, near = rank + turn * sides, near + turn
    share = (elevated - near * sides) / sides
    weights = torch.zeros(len(elevated), sides + 1, device=elevated.device)
    weights.scatter_add_(1, sides - 1 - rank, share).scatter_add_(1, sides - rank, -share)
    weights[:, 0] += 1 + weights[:, sides]
    return near.long() * sides, rank, weights[:, :sides]


def number(corner: torch.Tensor, rank: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """One number per corner of each simplex (N x (d + 1)), and what the d + 1 directions add to a number.

    A number holds the first d coordinates, with room for a neighbour's; the last one follows from them.
    """
    sides = corner.shape[1]
    low, high = corner.amin(0)[:-1] - 2 * sides, corner.amax(0)[:-1] + 2 * sides
    widths = (high - low + 1).tolist()
    places = [1]
    for width in widths:
        places.append(places[-1] * width)
    if places[-1] > MOST_CODES:
        raise SpecError("the Gaussian's standard deviations are so small that the lattice has too many cells to number")
    codes = []
    for remainder in range(sides):
        key = corner + remainder - sides * (rank >= sides - remainder)
        codes.append(sum((key[:, i] - low[i]) * places[i] for i in range(sides - 1)))
    ones = sum(places[:-1])
    steps = [ones - sides * place for place in places[:-1]] + [ones]
    return torch.stack(codes, 1), steps  # type: ignore[arg-type]


def filtered(values: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """`lattice.filter(values)` with its gradient; N x C. The features take none."""
    return _filter()(values, lattice)


@lru_cache(maxsize=1)
def _filter() -> Any:
    class Filter(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: torch.Tensor, lattice: Lattice) -> torch.Tensor:
            ctx.lattice = lattice
            return lattice.filter(values)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
            return ctx.lattice.filter(grads[0], adjoint=True), None

    return Filter.apply


def smooth(values: torch.Tensor, lattice: Lattice, norm: torch.Tensor) -> torch.Tensor:
    """C x H x W values filtered and multiplied by `norm` (N x 1), in the same shape."""
    flat = filtered(values.flatten(1).T, lattice) * norm.to(values.dtype)
    return flat.T.reshape(values.shape)


def norm_of(lattice: Lattice) -> torch.Tensor:
    """1 / what the filter makes of ones: N x 1."""
    points = len(lattice.weights)
    return 1 / (lattice.filter(lattice.weights.new_ones(points, 1)) + 1e-20)


def places(size: Sequence[int], deviation: float, device: torch.device) -> torch.Tensor:
    """x and y of every cell of a plane (height, width) in units of `deviation`: (height · width) x 2."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device) for n in size), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1) / deviation


def with_colours(image: torch.Tensor, xy_deviation: float, colour_deviation: float) -> torch.Tensor:
    """x, y and the channels of a C x H x W image, each in units of its deviation: (H · W) x (2 + C)."""
    colours = image.detach().flatten(1).T.float() / colour_deviation
    return torch.cat([places(image.shape[1:], xy_deviation, image.device), colours], 1)
