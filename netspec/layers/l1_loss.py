"""L1Loss: the sum of absolute differences."""

from __future__ import annotations

from netspec.layers.losses import wide
from netspec.layers.smooth_l1_loss import Regression
from netspec.lazytorch import torch


class L1Loss(Regression):
    """loss = (1 / N) Σ |prediction − target|; the gradient of |0| is 0.

    Shapes: two of one shape -> a scalar.
    Errors: bottoms of different shape.
    Source: the L1Loss that several forks added beside EuclideanLoss. Both bottoms take gradients.
    """

    bottoms = (2, 2)

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        prediction = wide(bottoms[0])
        difference = prediction - wide(bottoms[1]).reshape(prediction.shape)
        return [difference.abs().sum() / max(1, len(prediction))]
