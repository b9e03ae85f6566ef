"""Convolution in bfloat16 on large maps, its weight's gradient taken from some rows at a time (CPU).

For that gradient oneDNN rewrites both maps, in memory of twice their size, which the system clears for it each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from netspec.layers.window import Window
from netspec.lazytorch import F, torch

LARGE, BAND = 2**24, 2**22
"""Bytes of a bottom in bfloat16 from which it is large, and of its rows that are taken together."""


def suits(x: torch.Tensor, weight: torch.Tensor, window: Window, group: int) -> bool:
    """Whether a convolution of a large map is to learn in bfloat16."""
    rounds = torch.is_autocast_enabled(x.device.type) and torch.is_grad_enabled() and weight.requires_grad
    if not rounds or x.device.type != "cpu" or x.ndim != 4 or group > 1 or window.stride != (1, 1):
        return False
    return 2 * x.numel() >= LARGE and torch.get_autocast_dtype("cpu") == torch.bfloat16


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window) -> torch.Tensor:
    """The convolution of stride 1, in bfloat16; its parameters' gradients are added up in their own number type."""
    with torch.autocast("cpu", enabled=False):
        return differentiable()(x.bfloat16(), weight, bias, window)


@cache
def differentiable() -> Any:
    """The convolution with its gradients."""

    class Convolve(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window
        ) -> torch.Tensor:
            ctx.save_for_backward(x, weight)
            ctx.window = window
            settings = window.stride, window.pad, window.dilation
            return F.conv2d(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype), *settings)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            x, weight = ctx.saved_tensors
            above, (first, *learns, _) = grads[0], ctx.needs_input_grad
            below = bottom_gradient(x, weight, above, ctx.window) if first else None
            sums = parameter_gradients(x, weight, above, ctx.window) if any(learns) else (None, None)
            return below, *(g if learned else None for g, learned in zip(sums, learns, strict=True)), None

    return Convolve.apply


def bottom_gradient(x: torch.Tensor, weight: torch.Tensor, above: torch.Tensor, window: Window) -> torch.Tensor:
    settings = None, window.stride, window.pad, window.dilation, False, (0, 0), 1
    return torch.ops.aten.convolution_backward(above, x, weight.to(x.dtype), *settings, [True, False, False])[0]


def parameter_gradients(
    x: torch.Tensor, weight: torch.Tensor, above: torch.Tensor, window: Window
) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of weight and bias: the sums over bands of rows, in the weight's number type."""
    sums = torch.zeros_like(weight), weight.new_zeros(len(weight))
    settings = [len(weight)], window.stride, (0, window.pad[1]), window.dilation, False, (0, 0), 1
    rounded = weight.to(x.dtype)
    for rows in bands(x, above.shape[2]):
        given = above[:, :, rows], rows_seen(x, rows, window), rounded
        parts = torch.ops.aten.convolution_backward(*given, *settings, [False, True, True])[1:]
        for total, part in zip(sums, parts, strict=True):
            total += part
    return sums


def bands(x: torch.Tensor, height: int) -> Iterator[slice]:
    """Rows of a top of this height, as many at a time as about BAND bytes of the bottom have."""
    step = max(1, BAND * x.shape[2] // x.nbytes)
    return (slice(at, min(height, at + step)) for at in range(0, height, step))


def rows_seen(x: torch.Tensor, rows: slice, window: Window) -> torch.Tensor:
    """The rows of the bottom that these rows of the top see, with the padding that is among them."""
    start = rows.start - window.pad[0]
    stop = rows.stop - window.pad[0] + window.extent()[0] - 1
    low, high = max(0, start), min(x.shape[2], stop)
    seen = x[:, :, low:high]
    return seen if (low, high) == (start, stop) else F.pad(seen, (0, 0, low - start, stop - high))
