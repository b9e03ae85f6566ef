"""BNLL: a smooth rectifier."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import F, torch

LINEAR = 50
"""From here on log(1 + exp(x)) is x to the last digit, and exp(x) is kept from overflowing."""


class BNLL(Elementwise):
    """y = log(1 + exp(x)).

    Shapes: any -> the same.
    Source: Caffe's BNLL (binomial normal log likelihood). In place, Caffe takes the slope at the output, sigmoid(y);
        here it is sigmoid(x) in any case.
    """

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return F.softplus(x, threshold=LINEAR)
