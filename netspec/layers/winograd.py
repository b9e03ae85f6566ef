"""Convolution by 3 x 3 windows with a quarter of the multiplications, for the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import sqrt
from typing import Any

from netspec.layers.spatial import layout_of
from netspec.layers.window import Window
from netspec.lazytorch import torch

SIDE, POINTS = 4, 6
"""Per axis, the cells of a top that are computed together, and those of the bottom that they see."""
A, B = sqrt(0.5), sqrt(2)
"""Polynomials are known by their values at 0, A, -A, B, -B and infinity; with these A and B they round little."""
TILES = 256
"""Tiles that go through the products together: their values stay in the processor's cache."""
FEWEST = 64
"""Tiles below which transforming the weight takes longer than what it saves."""
CHANNELS = 128
"""Channels of bottom and top from which the products outweigh the transformations."""


def suits(weight: torch.Tensor, window: Window, group: int, bottom: Sequence[int]) -> bool:
    """Whether a convolution is faster this way on a bottom of this shape."""
    if (window.kernel, window.stride, window.dilation) != ((3, 3), (1, 1), (1, 1)) or group > 1:
        return False
    if min(weight.shape[:2]) < CHANNELS or max(window.pad) > 2:
        return False
    height, width = (-(-n // SIDE) for n in window.down(bottom[2:]))
    return bottom[0] * height * width >= FEWEST


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: Sequence[int], relu: bool
) -> torch.Tensor:
    """Convolution of N x C x H x W with K x C x 3 x 3, and ReLU without a gradient if asked; the top lies as x does.

    y = Aᵀ [(G w Gᵀ) ∘ (Bᵀ d B)] A for each 6 x 6 tile d of the bottom and the 4 x 4 tile y of the top behind it; ∘ sums
    over channels, so it is 36 matrix products. The weight is transformed anew each time. Rounding: about 2e-6 of the
    largest value. Source: Winograd 1980; Lavin and Gray 2016.
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        return differentiable()(x, weight, bias, tuple(pad))
    return products(x, at_weight_points(weight).transpose(1, 2), bias, pad, relu)


def products(
    x: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor | None, pad: Sequence[int], relu: bool
) -> torch.Tensor:
    """The top, from the transformed weight as 36 x C x K."""
    size = [n + 2 * p - 2 for n, p in zip(x.shape[2:], pad, strict=True)]
    y = torch.empty((len(x), factors.shape[2], *size), dtype=x.dtype, memory_format=layout_of(x))
    bottom, top = x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)
    for images, rows in bands(*top.shape[:3]):
        part = top[images, rows]
        points = at_points(seen(bottom[images], rows.start, part.shape, pad), values, POINTS)
        made = cells(torch.bmm(points.flatten(0, 1).flatten(1, 3), factors).view(*points.shape[:-1], -1))
        made = made[:, : part.shape[1], : part.shape[2]]
        if bias is not None:
            made += bias
        part.copy_(made.relu_() if relu else made)
    return y


@cache
def differentiable() -> Any:
    """The convolution with its gradients: that of the bottom is one of the same kind, with the window turned over."""

    class Convolve(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: tuple[int, int]
        ) -> torch.Tensor:
            ctx.save_for_backward(x, weight)
            ctx.pad = pad
            with torch.no_grad():
                return convolve(x, weight, bias, pad, False)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            x, weight = ctx.saved_tensors
            above, (first, second, third, _) = grads[0], ctx.needs_input_grad
            turned = [2 - p for p in ctx.pad]
            return (
                products(above, at_weight_points(weight.flip(2, 3)), None, turned, False) if first else None,
                weight_gradient(x, above, ctx.pad) if second else None,
                above.sum((0, 2, 3)) if third else None,
                None,
            )

    return Convolve.apply


def weight_gradient(x: torch.Tensor, above: torch.Tensor, pad: Sequence[int]) -> torch.Tensor:
    """Gᵀ [Σ (A g Aᵀ)ᵀ (Bᵀ d B)] G over the tiles d of the bottom and g of the gradient above: K x C x 3 x 3."""
    bottom, top = x.permute(0, 2, 3, 1), above.permute(0, 2, 3, 1)
    total = x.new_zeros(POINTS * POINTS, top.shape[3], bottom.shape[3])
    for images, rows in bands(*top.shape[:3]):
        size = top[images, rows].shape
        points = at_points(seen(bottom[images], rows.start, size, pad), values, POINTS)
        slopes = at_points(seen(top[images], rows.start, size, (0, 0)), gradients, SIDE)
        total.baddbmm_(slopes.flatten(0, 1).flatten(1, 3).transpose(1, 2), points.flatten(0, 1).flatten(1, 3))
    return torch.mm(total.flatten(1).t(), weight_transform(x.dtype)).view(*total.shape[1:], 3, 3)


def weight_transform(dtype: torch.dtype) -> torch.Tensor:
    """G ⊗ G, 36 x 9: row (i, j) gives a weight's value at points i and j."""
    g = [[1.0, 0.0, 0.0]]
    for p, q in ((A, B), (B, A)):
        scale = 2 * p * p * (p * p - q * q)
        g += [[1 / scale, p / scale, p * p / scale], [1 / scale, -p / scale, p * p / scale]]
    rows = torch.tensor([*g, [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.kron(rows, rows).to(dtype)


def at_weight_points(weight: torch.Tensor) -> torch.Tensor:
    """G w Gᵀ of a weight K x C x 3 x 3: 36 x K x C."""
    return torch.mm(weight_transform(weight.dtype), weight.reshape(-1, 9).t()).view(-1, *weight.shape[:2])


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


def at_points(seen: torch.Tensor, along: Callable[..., None], lines: int) -> torch.Tensor:
    """What `along` makes of the first `lines` rows, then columns, of all tiles: 6 x 6 x N x n x k x C.

    With `values` and 6 lines Bᵀ d B of what the tiles see, with `gradients` and 4 lines A g Aᵀ of the gradients above.
    """
    count, height, width, channels = seen.shape
    down, across = height // SIDE, width // SIDE
    rows = seen.new_empty(POINTS, count, down, width, channels)
    along(*(seen[:, i : i + SIDE * down - 3 : SIDE] for i in range(lines)), out=rows.unbind(0))
    points = seen.new_empty(POINTS, POINTS, count, down, across, channels)
    along(*(rows[:, :, :, j : j + SIDE * across - 3 : SIDE] for j in range(lines)), out=points.unbind(1))
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


def gradients(
    g0: torch.Tensor, g1: torch.Tensor, g2: torch.Tensor, g3: torch.Tensor, out: Sequence[torch.Tensor]
) -> None:
    """A g along one axis, the transpose of `coefficients`."""
    for at, point in ((1, A), (3, B)):
        even = torch.add(g0, g2, alpha=point**2)
        odd = torch.add(g1, g3, alpha=point**2)
        torch.add(even, odd, alpha=point, out=out[at])
        torch.sub(even, odd, alpha=point, out=out[at + 1])
    out[0].copy_(g0)
    out[5].copy_(g3)
