"""Convolution by 3 x 3 windows with a quarter of the multiplications, for inference on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt

from netspec.layers.window import Window
from netspec.lazytorch import torch

SIDE, POINTS = 4, 6
"""Per axis, the cells of a top that are computed together, and those of the bottom that they see."""
A, B = sqrt(0.5), sqrt(2)
"""Polynomials are known by their values at 0, A, -A, B, -B and infinity; with these A and B they round little."""
TILES = 256
"""Tiles that go through the products together: their values stay in the processor's cache."""
FEWEST = 64
"""Tiles below which the transformed weight is not worth its making."""
CHANNELS = 64, 128
"""The smaller and the larger of the two numbers of channels, from which the products outweigh the transformations."""


@dataclass(frozen=True)
class Winograd:
    """A 3 x 3 weight as 9 x C x K; each pass transforms it anew, so that it takes no more memory than it did.

    y = Aᵀ [(G w Gᵀ) ∘ (Bᵀ d B)] A for each 6 x 6 tile d of the bottom and the 4 x 4 tile y of the top behind it; ∘ sums
    over channels, so it is 36 matrix products. Rounding: about 2e-6 of the largest value.
    Source: Winograd 1980; Lavin and Gray 2016.
    """

    weight: torch.Tensor

    requires_grad = False

    def convolve(
        self, x: torch.Tensor, bias: torch.Tensor | None, window: Window, group: int, relu: bool
    ) -> torch.Tensor:
        """Convolution of N x C x H x W, then ReLU if asked; channels lie innermost."""
        bottom = x.float().permute(0, 2, 3, 1)
        factors = torch.mm(weight_transform(), self.weight.flatten(1)).view(-1, *self.weight.shape[1:])
        top = bottom.new_empty(len(x), *window.down(x.shape[2:]), self.weight.shape[2])
        for images, rows in bands(*top.shape[:3]):
            part = top[images, rows]
            points = at_points(seen(bottom[images], rows.start, part.shape, window.pad))
            made = cells(torch.bmm(points.flatten(0, 1).flatten(1, 3), factors).view(*points.shape[:-1], -1))
            part.copy_(made[:, : part.shape[1], : part.shape[2]])
            if bias is not None:
                part.add_(bias)
            if relu:
                part.relu_()
        return top.permute(0, 3, 1, 2)


def by_tiles(weight: torch.Tensor) -> Winograd:
    """The form of a weight K x C x 3 x 3 that `Winograd` multiplies by."""
    return Winograd(weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous())


def suits(weight: torch.Tensor, window: Window, group: int, bottom: Sequence[int]) -> bool:
    """Whether a convolution is faster this way on bottoms of about this shape."""
    if window.kernel != (3, 3) or window.stride != (1, 1) or window.dilation != (1, 1) or group > 1:
        return False
    height, width = (-(-n // SIDE) for n in window.down(bottom[2:]))
    fewer, more = sorted(weight.shape[:2])
    return fewer >= CHANNELS[0] and more >= CHANNELS[1] and bottom[0] * height * width >= FEWEST


@cache
def weight_transform() -> torch.Tensor:
    """G ⊗ G, 36 x 9: row (i, j) gives the weight's value at points i and j."""
    rows = [[1.0, 0.0, 0.0]]
    for p, q in ((A, B), (B, A)):
        scale = 2 * p * p * (p * p - q * q)
        rows += [[1 / scale, p / scale, p * p / scale], [1 / scale, -p / scale, p * p / scale]]
    g = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.kron(g, g).float()


def bands(count: int, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows of the top that are computed together."""
    down, across = -(-height // SIDE), -(-width // SIDE)
    rows = max(1, TILES // across)
    images = max(1, rows // down)
    for image in range(0, count, images):
        for row in range(0, height, SIDE * rows):
            yield slice(image, image + images), slice(row, min(height, row + SIDE * rows))


def seen(bottom: torch.Tensor, first: int, part: Sequence[int], pad: Sequence[int]) -> torch.Tensor:
    """What the tiles of a part of the top see, N x (4 n + 2) x (4 k + 2) x C: the bottom, with zeros around it."""
    sides = [SIDE * -(-n // SIDE) + POINTS - SIDE for n in part[1:3]]
    out = bottom.new_zeros(len(bottom), *sides, bottom.shape[3])
    top = first - pad[0]
    low, high = max(0, top), min(bottom.shape[1], top + sides[0])
    inner = out[:, low - top : high - top, pad[1] : pad[1] + bottom.shape[2]]
    inner.copy_(bottom[:, low:high, : inner.shape[2]])
    return out


def at_points(seen: torch.Tensor) -> torch.Tensor:
    """Bᵀ d B of all tiles: 6 x 6 x N x n x k x C."""
    count, height, width, channels = seen.shape
    down, across = height // SIDE, width // SIDE
    rows = seen.new_empty(POINTS, count, down, width, channels)
    values(*(seen[:, i : i + SIDE * down - 3 : SIDE] for i in range(POINTS)), out=rows.unbind(0))
    points = seen.new_empty(POINTS, POINTS, count, down, across, channels)
    columns = (rows[:, :, :, j : j + SIDE * across - 3 : SIDE] for j in range(POINTS))
    values(*columns, out=points.unbind(1))
    return points


def cells(made: torch.Tensor) -> torch.Tensor:
    """Aᵀ m A of all tiles' products, put together: N x 4 n x 4 k x K."""
    _, _, count, down, across, channels = made.shape
    rows = made.new_empty(SIDE, POINTS, count, down, across, channels)
    coefficients(*made.unbind(0), out=rows.unbind(0))
    top = made.new_empty(count, down, SIDE, across, SIDE, channels)
    coefficients(*rows.unbind(1), out=top.permute(4, 2, 0, 1, 3, 5).unbind(0))
    return top.view(count, SIDE * down, SIDE * across, channels)


def values(
    d0: torch.Tensor,
    d1: torch.Tensor,
    d2: torch.Tensor,
    d3: torch.Tensor,
    d4: torch.Tensor,
    d5: torch.Tensor,
    out: Sequence[torch.Tensor],
) -> None:
    """Bᵀ d along one axis, at 0, A, -A, B, -B and infinity."""
    for at, (point, other) in ((1, (A, B)), (3, (B, A))):
        even = torch.sub(d4, d2, alpha=other * other)
        odd = torch.sub(d3, d1, alpha=other * other)
        torch.add(even, odd, alpha=point, out=out[at])
        torch.sub(even, odd, alpha=point, out=out[at + 1])
    torch.sub(d0, d2, alpha=A * A + B * B, out=out[0]).add_(d4)
    torch.sub(d1, d3, alpha=A * A + B * B, out=out[5]).add_(d5)


def coefficients(
    m0: torch.Tensor,
    m1: torch.Tensor,
    m2: torch.Tensor,
    m3: torch.Tensor,
    m4: torch.Tensor,
    m5: torch.Tensor,
    out: Sequence[torch.Tensor],
) -> None:
    """Aᵀ m along one axis: what the values at the six points say of four neighbouring cells."""
    even, odd, even_b, odd_b = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    torch.add(even, even_b, out=out[0]).add_(m0)
    torch.mul(odd, A, out=out[1]).add_(odd_b, alpha=B)
    torch.mul(even, A**2, out=out[2]).add_(even_b, alpha=B**2)
    torch.add(m5, odd, alpha=A**3, out=out[3]).add_(odd_b, alpha=B**3)
