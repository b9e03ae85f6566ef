"""SmoothL1Loss: square near 0, absolute value beyond."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape
from netspec.layers.losses import Loss, wide
from netspec.lazytorch import torch


def smooth_l1(d: torch.Tensor, sigma: float = 1.0) -> torch.Tensor:
    """(sigma d)² / 2 where |d| < 1 / sigma², else |d| − 1 / (2 sigma²)."""
    square = sigma * sigma
    return torch.where(d.abs() < 1 / square, square * d * d / 2, d.abs() - 0.5 / square)


class Regression(Loss, abstract=True):
    """A loss of predictions and targets of one shape, which take gradients, and of weights, which pass none on."""

    bottoms = (2, 4)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for index, shape in enumerate(bottoms[1:], 1):
            if stripped(shape) != stripped(bottoms[0]):
                raise self.fail(f"bottoms 0 and {index}, {list(bottoms[0])} and {list(shape)}, differ in shape")
        if not bottoms[0]:
            raise self.fail("bottom 0 has no axes; at least one is wanted")
        return [()]

    def gradient_to(self, bottom: int) -> bool:
        return True


def stripped(shape: Shape) -> Shape:
    """A shape without the ones at its end: older blobs always had four axes."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


class SmoothL1Loss(Regression):
    """loss = (1 / N) Σ outside · f(inside · (prediction − target)).

    f(d) = (sigma d)² / 2 where |d| < 1 / sigma², else |d| − 1 / (2 sigma²).
    Shapes: predictions, targets, and on demand inside weights and outside weights, all of one shape -> a scalar.
    Errors: bottoms of different shape, sigma not above 0.
    Source: Fast R-CNN's SmoothL1Loss (Girshick 2015); weights are 1 where not given. Weights pass no gradient on.
    """

    settings = "smooth_l1_loss_param"

    def setup(self) -> None:
        if self.p.sigma <= 0:
            raise self.fail(f"sigma {self.p.sigma:g} must be above 0", "sigma")

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        prediction = wide(bottoms[0])
        target, *weights = (wide(b).reshape(prediction.shape) for b in bottoms[1:])
        difference = prediction - target
        if weights:
            difference = weights[0].detach() * difference
        error = smooth_l1(difference, self.p.sigma)
        if len(weights) > 1:
            error = weights[1].detach() * error
        return [error.sum() / max(1, len(prediction))]
