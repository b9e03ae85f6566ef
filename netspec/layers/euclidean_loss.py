"""EuclideanLoss: half the mean squared distance."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, count
from netspec.layers.losses import Loss, wide
from netspec.lazytorch import torch


class EuclideanLoss(Loss):
    """loss = 1 / (2 N) Σ (bottom0 − bottom1)².

    Shapes: N x rest, N x as many values -> a scalar.
    Errors: another first axis or number of values.
    Source: Caffe's EuclideanLoss; both bottoms take gradients.
    """

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        if count(bottoms[0]) != count(bottoms[1]):
            raise self.fail(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} differ in the number of values")
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        a, b = (wide(x) for x in bottoms)
        return [(a - b.reshape(a.shape)).square().sum() / (2 * len(a))]

    def gradient_to(self, bottom: int) -> bool:
        return True
