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
PART = 2**25
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


def parts(length: int, nbytes: int) -> Iterator[slice]:
    """An axis of this length cut so that each part of a weight of `nbytes` has about PART."""
    step = max(1, length * PART // nbytes)
    return (slice(at, min(length, at + step)) for at in range(0, length, step))


@cache
def differentiable() -> Any:
    """The product with its gradients."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            ctx.save_for_backward(weight, columns)
            y = columns.new_empty(len(weight), columns.shape[1])
            for part in whole_or_parts(weight, columns):
                rows = weight[part].flatten(1).to(columns.dtype)
                if bias is None:
                    torch.mm(rows, columns, out=y[part])
                else:
                    torch.addmm(bias[part, None].to(columns.dtype), rows, columns, out=y[part])
            return y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            weight, columns = ctx.saved_tensors
            above = grads[0].to(columns.dtype).contiguous()
            first, second, third = ctx.needs_input_grad
            below = columns_gradient(weight.flatten(1), columns, above) if second else None
            shift = above.sum(1, dtype=weight.dtype) if third else None
            return weight_gradient(weight, columns, above) if first else None, below, shift

    return Product.apply


def whole_or_parts(weight: torch.Tensor, columns: torch.Tensor) -> Iterator[slice]:
    """Rows of the weight that are multiplied together: some, where they are rounded for it, else all."""
    if weight.dtype == columns.dtype:
        return iter([slice(0, len(weight))])
    return parts(len(weight), weight.nbytes)


def weight_gradient(weight: torch.Tensor, columns: torch.Tensor, above: torch.Tensor) -> torch.Tensor | None:
    """above · columnsᵀ in the weight's shape and number type; None when the weight's Taker has it."""
    take: Taker | None = getattr(weight, "take_rows", None)
    if take is not None:
        for part in parts(len(weight), weight.nbytes):
            take(part, torch.mm(above[part], columns.t()).to(weight.dtype).view(-1, *weight.shape[1:]))
        return None
    heap.trim()
    made = torch.empty_like(weight)
    for part in whole_or_parts(weight, columns):
        rows = made[part].flatten(1)
        if weight.dtype == columns.dtype:
            torch.mm(above[part], columns.t(), out=rows)
        else:
            rows.copy_(torch.mm(above[part], columns.t()))
    return made


def columns_gradient(weight: torch.Tensor, columns: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """weightᵀ · above, for the weight as a matrix."""
    if weight.dtype == columns.dtype:
        return torch.mm(weight.t(), above)
    made = torch.empty_like(columns)
    for part in parts(len(columns), weight.nbytes):
        torch.mm(weight[:, part].to(columns.dtype).t(), above, out=made[part])
    return made
