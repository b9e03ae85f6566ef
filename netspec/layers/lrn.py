"""LRN: local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import F, torch


class LRN(Layer):
    """y = x · scale^−beta, scale = k + (alpha / n) Σ x² over n = local_size neighbouring channels of the same place.

    With norm_region WITHIN_CHANNEL: scale = 1 + (alpha / n²) Σ x² over the n x n places around, in the same channel;
    k has no effect there. Beyond the edge x is 0, and still counts in n.
    Shapes: N x C x H x W -> the same.
    Errors: an even local_size; a bottom that has not four axes.
    Source: Caffe's LRN (Krizhevsky et al. 2012).
    """

    settings = "lrn_param"

    def setup(self) -> None:
        self.size: int = self.p.local_size
        if self.size % 2 == 0:
            raise self.fail(f"local_size {self.size} must be odd", "local_size")
        self.within = schema.enum_name(self.p, "norm_region") == "WITHIN_CHANNEL"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise self.fail(f"bottom {list(bottoms[0])} must have four axes: images, channels, height, width")
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, p = bottoms[0], self.p
        if self.within:
            mean = F.avg_pool2d(x * x, self.size, 1, self.size // 2)
            return [x * (mean * p.alpha + 1.0).pow(-p.beta)]
        if not (torch.is_grad_enabled() and x.requires_grad):
            return [x * channel_scale(x, self.size, p.alpha, p.k).pow_(-p.beta)]
        return [_across()(x, self.size, p.alpha, p.beta, p.k)]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return not self.within

    def reach(self) -> tuple[int, ...]:
        return (self.size,) if self.within else (1,)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0]) * self.size ** (2 if self.within else 1)


def channel_sum(x: torch.Tensor, size: int) -> torch.Tensor:
    """The sum over `size` neighbouring channels; beyond the first and the last they are 0."""
    channels = x.shape[1]
    total = x.clone()
    for step in range(1, min(size // 2, channels - 1) + 1):
        total[:, step:] += x[:, :-step]
        total[:, :-step] += x[:, step:]
    return total


def channel_scale(x: torch.Tensor, size: int, alpha: float, k: float) -> torch.Tensor:
    return channel_sum(x * x, size).mul_(alpha / size).add_(k)


@lru_cache(maxsize=1)
def _across() -> Any:
    """Across channels by hand: autograd would keep one copy of the bottom per neighbour."""

    class Across(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
            scale = channel_scale(x, size, alpha, k)
            ctx.save_for_backward(x, scale)
            ctx.settings = size, alpha, beta
            return x * scale.pow(-beta)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (x, scale), (size, alpha, beta) = ctx.saved_tensors, ctx.settings
            weighted = grads[0] * scale.pow(-beta)
            shared = channel_sum(weighted * x / scale, size)
            return weighted - shared.mul_(x).mul_(2 * alpha * beta / size), None, None, None, None

    return Across.apply
