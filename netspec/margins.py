"""Maps that are cut, or continued by one constant for each channel.

The gradients are written by hand, so that they lie in memory as the maps do: those of torch's slices always lie channel
by channel, and every layer below would have to reorder them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from netspec.layers.spatial import layout_of

Cells = tuple[slice, slice]
"""Rows and columns of a map, from a start to an end within it."""


def cut(x: Tensor, inner: Cells) -> Tensor:
    """Some rows and columns of N x C x H x W: a view, not to be written on while gradients are on."""
    return Cut.apply(x, inner) if torch.is_grad_enabled() else of(x, inner)  # type: ignore[return-value]


def continued(x: Tensor, around: Tensor, inner: Cells, size: tuple[int, int]) -> Tensor:
    """The map at `inner` of N x C x size, and `around`, 1 x C x 1 x 1, everywhere else."""
    return Continued.apply(x, around, inner, size)  # type: ignore[return-value]


def bordered(x: Tensor, around: Tensor, inner: Cells) -> Tensor:
    """The map itself, overwritten by `around`, 1 x C x 1 x 1, outside of `inner`."""
    return Bordered.apply(x, around, inner)  # type: ignore[return-value]


def of(x: Tensor, cells: Cells) -> Tensor:
    return x[:, :, cells[0], cells[1]]


def outside(x: Tensor, inner: Cells) -> Iterator[Tensor]:
    """Views that together are all cells outside of `inner`: above, below, left and right of it."""
    rows, columns = inner
    yield x[:, :, : rows.start]
    yield x[:, :, rows.stop :]
    yield x[:, :, rows, : columns.start]
    yield x[:, :, rows, columns.stop :]


def surround(x: Tensor, inner: Cells, value: Tensor | float) -> Tensor:
    """The map itself, overwritten outside of `inner`."""
    for part in outside(x, inner):
        part[...] = value
    return x


def total(x: Tensor, inner: Cells) -> Tensor:
    """The sum over images and over the cells outside of `inner`, 1 x C x 1 x 1."""
    sums = [part.sum((0, 2, 3), keepdim=True) for part in outside(x, inner)]
    return sums[0] + sums[1] + sums[2] + sums[3]


class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inner: Cells) -> Tensor:
        ctx.inner, ctx.shape, ctx.layout = inner, x.shape, layout_of(x)
        return of(x, inner)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        above = grads[0]
        below = torch.empty(ctx.shape, dtype=above.dtype, device=above.device, memory_format=ctx.layout)
        of(below, ctx.inner).copy_(above)
        return surround(below, ctx.inner, 0.0), None


class Continued(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, around: Tensor, inner: Cells, size: tuple[int, int]) -> Tensor:
        ctx.inner, layout = inner, layout_of(x)
        out = torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout)
        of(out, inner).copy_(x)
        return surround(out, inner, around)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        above, (first, second, *_) = grads[0], ctx.needs_input_grad
        return of(above, ctx.inner) if first else None, total(above, ctx.inner) if second else None, None, None


class Bordered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, around: Tensor, inner: Cells) -> Tensor:
        ctx.inner = inner
        ctx.mark_dirty(x)
        return surround(x, inner, around)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        above, (first, second, *_) = grads[0], ctx.needs_input_grad
        below = surround(above.clone(), ctx.inner, 0.0) if first else None
        return below, total(above, ctx.inner) if second else None, None
