"""Products of a large float32 weight in another number type, without a copy of the whole weight in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from netspec.lazytorch import torch

PART = 2**25
"""Bytes of the weight that are rounded at once."""


def product(weight: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """weight · columns + bias in the columns' number type, added up in float32: K x M, M x P, K -> K x P.

    Autocast would keep the rounded weight for backward, and its gradient in both number types.
    """
    with torch.autocast(columns.device.type, enabled=False):
        return differentiable()(weight, columns, bias)


def parts(length: int, nbytes: int) -> Iterator[slice]:
    """An axis of this length cut so that each part of a weight of `nbytes` has about PART."""
    step = max(1, length * PART // nbytes)
    return (slice(at, min(length, at + step)) for at in range(0, length, step))


@cache
def differentiable() -> Any:
    """The product with its gradients, each rounded part by part."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            ctx.save_for_backward(weight, columns)
            y = columns.new_empty(len(weight), columns.shape[1])
            for part in parts(len(weight), weight.nbytes):
                rows = weight[part].to(columns.dtype)
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
            return (
                weight_gradient(weight, columns, above) if first else None,
                columns_gradient(weight, columns, above) if second else None,
                above.sum(1, dtype=weight.dtype) if third else None,
            )

    return Product.apply


def weight_gradient(weight: torch.Tensor, columns: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """above · columnsᵀ, in the weight's number type."""
    made = torch.empty_like(weight)
    for part in parts(len(weight), weight.nbytes):
        made[part] = torch.mm(above[part], columns.t())
    return made


def columns_gradient(weight: torch.Tensor, columns: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """weightᵀ · above."""
    made = torch.empty_like(columns)
    for part in parts(len(columns), weight.nbytes):
        torch.mm(weight[:, part].to(columns.dtype).t(), above, out=made[part])
    return made
