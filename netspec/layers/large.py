"""Products of a large weight as the matrix that it is, without anything else of its size on the CPU.

oneDNN would copy the weight into a layout of its own in every pass, and twice in backward; autocast would keep a
rounded copy, and the gradient in two number types. And who updates weights can take the gradient in parts, as they are
made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from netspec import heap
from netspec.lazytorch import torch

LARGE = 2**25
"""Bytes above which a weight is large."""
PART = 2**24
"""Bytes of the weight that are worked on at once where it is done in parts."""
Taker = Callable[[slice, Any], None]
"""Called with the gradient of some rows of a weight when nobody reads those rows any more."""


def suits(weight: torch.Tensor, places: int) -> bool:
    """Whether a weight is so large, and has so few places, that the columns take less memory than it does."""
    if weight.nbytes <= LARGE or weight.device.type != "cpu" or not weight.is_contiguous():
        return False
    return 4 * places <= len(weight) and not torch.compiler.is_compiling()


def product(weight: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """weight · columns + bias: K x ... as K x M, M x P, K -> K x P.

    Under autocast columns and weight are rounded to its number type, and products added up in float32. A weight that
    has a Taker as `take_rows` gets no gradient: the Taker does, once, part by part, the last thing in backward.
    """
    kind = columns.device.type
    if torch.is_autocast_enabled(kind):
        columns = columns.to(torch.get_autocast_dtype(kind))
    with torch.autocast(kind, enabled=False):
        return differentiable()(weight, columns, bias)


def as_rows(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weight as a matrix in this number type; one that learns has one rounded copy, always in the same memory."""
    rows = weight.detach().flatten(1)
    if rows.dtype == dtype:
        return rows
    kept: torch.Tensor | None = getattr(weight, "rounded", None)
    if kept is None or (kept.dtype, kept.shape) != (dtype, rows.shape):
        kept = torch.empty_like(rows, dtype=dtype)
        if weight.requires_grad:
            weight.rounded = kept  # type: ignore[attr-defined]
    return kept.copy_(rows)


@cache
def differentiable() -> Any:
    """The product with its gradients."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            ctx.save_for_backward(weight, columns)
            ctx.weight = weight  # recomputation saves another tensor of the same values, which has no Taker
            ctx.rows = rows = as_rows(weight, columns.dtype)
            return rows @ columns if bias is None else torch.addmm(bias[:, None].to(rows.dtype), rows, columns)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            weight, (_, columns) = ctx.weight, ctx.saved_tensors
            above = grads[0].to(columns.dtype).contiguous()
            first, second, third = ctx.needs_input_grad
            below = ctx.rows.t() @ above if second else None
            shift = above.sum(1, dtype=weight.dtype) if third else None
            return weight_gradient(weight, columns, above) if first else None, below, shift

    return Product.apply


def weight_gradient(weight: torch.Tensor, columns: torch.Tensor, above: torch.Tensor) -> torch.Tensor | None:
    """above · columnsᵀ in the weight's shape and number type; None when the weight's Taker has it."""
    take: Taker | None = getattr(weight, "take_rows", None)
    made = None
    if take is None:
        heap.trim()
        made = torch.empty_like(weight)
        take = made.__setitem__
    for part in parts(weight):
        take(part, torch.mm(above[part], columns.t()).to(weight.dtype).view(-1, *weight.shape[1:]))
    return made


def parts(weight: torch.Tensor) -> Iterator[slice]:
    """Rows of a weight, as many at a time as about PART bytes have."""
    step = max(1, len(weight) * PART // weight.nbytes)
    return (slice(at, min(len(weight), at + step)) for at in range(0, len(weight), step))
