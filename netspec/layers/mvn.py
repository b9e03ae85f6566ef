"""MVN: mean and variance normalisation of each image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class MVN(Layer):
    """y = (x − mean) / (std + eps), over each channel of each image, or over each image with across_channels.

    std is the root of the mean square of x − mean. Without normalize_variance y = x − mean.
    Shapes: up to four axes -> four, with axes of size 1 at the end where the bottom has fewer.
    Errors: a bottom of more than four axes.
    Source: Caffe's MVN; its gradient is that of eps = 0 but for the divisor.
    """

    settings = "mvn_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) > 4:
            raise self.fail(f"bottom {list(bottoms[0])} has more than four axes")
        return [(*bottoms[0], *[1] * (4 - len(bottoms[0])))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        shape = self.shapes([tuple(bottoms[0].shape)])[0]
        rows = prod(shape[:1] if self.p.across_channels else shape[:2])
        x = bottoms[0].reshape(rows, -1)
        if self.p.normalize_variance:
            return [_normalize()(x, self.p.eps).reshape(shape)]
        return [(x - x.mean(1, keepdim=True)).reshape(shape)]

    def coord_map(self) -> CoordMap:
        return IDENTITY


@lru_cache(maxsize=1)
def _normalize() -> Any:
    """dx = (dy − mean dy − y · mean(dy · y)) / (std + eps), as Caffe has it; autograd would add a term in eps."""

    class Normalize(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, eps: float) -> torch.Tensor:
            y = x - x.mean(1, keepdim=True)
            divisor = (y * y).mean(1, keepdim=True).sqrt_().add_(eps)
            y.div_(divisor)
            ctx.save_for_backward(y, divisor)
            return y

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (y, divisor), dy = ctx.saved_tensors, grads[0]
            along = (dy * y).mean(1, keepdim=True)
            return (dy - dy.mean(1, keepdim=True)).sub_(y * along).div_(divisor), None

    return Normalize.apply
