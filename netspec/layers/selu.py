"""SeLu and SeLuDropout: the unit and the dropout of self-normalising nets."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class SeLu(Elementwise):
    """y = lambda · x where x > 0, lambda · alpha · (exp(x) − 1) elsewhere.

    Shapes: any -> the same.
    Source: the SeLu of self-normalising nets (Klambauer et al. 2017); at 0 the gradient is lambda · alpha.
    """

    settings = "selu_param"
    reusable_top = False

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        factor = getattr(self.p, "lambda")
        return factor * torch.where(x > 0, x, self.p.alpha * torch.expm1(x.clamp(max=0)))


class SeLuDropout(Layer):
    """TRAIN: y = a · (x or, with probability dropout_ratio, alpha) + b; TEST: y = x.

    a = (q (1 + alpha² (1 − q)))^(−1/2) and b = −a (1 − q) alpha, q = 1 − dropout_ratio, keep mean 0 and variance 1.
    Shapes: any -> the same.
    Errors: a dropout_ratio outside 0 ... 1 (1 excluded).
    Source: the SeLuDropout of self-normalising nets (Klambauer et al. 2017).
    """

    settings = "selu_dropout_param"
    aliases = True

    def setup(self) -> None:
        if not 0 <= self.p.dropout_ratio < 1:
            raise self.fail(
                f"dropout_ratio {self.p.dropout_ratio:g} must be at least 0 and less than 1", "dropout_ratio"
            )

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, alpha, q = bottoms[0], self.p.alpha, 1 - self.p.dropout_ratio
        if self.phase == "TEST":
            return [x.view_as(x)]
        a = 1 / sqrt(q * (1 + alpha * alpha * (1 - q)))
        kept = torch.rand_like(x) < q
        return [a * torch.where(kept, x, alpha) - a * (1 - q) * alpha]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return self.phase == "TEST"
