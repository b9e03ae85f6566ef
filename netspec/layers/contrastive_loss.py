"""ContrastiveLoss: like things near, unlike things apart."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, count
from netspec.layers.losses import Loss, wide, with_gradient_of
from netspec.lazytorch import torch

NEAR = 1e-4
"""Added to a distance that is divided by."""


class ContrastiveLoss(Loss):
    """loss = 1 / (2 N) Σ_n { d² where the label is not 0, else max(margin − d, 0)² }, d the distance of rows a_n, b_n.

    With legacy_version, unlike things count max(margin − d², 0). Labels are cut to whole numbers first.
    Shapes: a and b N x C (x 1 x 1), labels N (x 1 ...) -> a scalar.
    Errors: a and b of different shape or with more than one value per channel, another number of labels.
    Source: Caffe's ContrastiveLoss (Hadsell et al. 2006). The slope of (margin − d)² is taken with d + 1e-4 in the
        divisor, so that it stays finite at d = 0. a and b take gradients, labels none.
    """

    settings = "contrastive_loss_param"
    bottoms = (3, 3)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        for shape in bottoms[:2]:
            if not 1 <= len(shape) <= 4 or count(shape, 2) != 1:
                raise self.fail(f"bottom {list(shape)} must be N x C or N x C x 1 x 1")
        if bottoms[0][1:2] != bottoms[1][1:2]:
            raise self.fail(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} differ in channels")
        self.one_per_row(bottoms, 2)
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        a, b = (wide(x).reshape(len(x), -1) for x in bottoms[:2])
        alike = bottoms[2].detach().flatten().trunc() != 0
        squared = (a - b).square().sum(1)
        return [torch.where(alike, squared, self.apart(squared)).sum() / (2 * len(squared))]

    def apart(self, squared: torch.Tensor) -> torch.Tensor:
        """What unlike things count at a squared distance."""
        margin = self.p.margin
        if self.p.legacy_version:
            return torch.relu(margin - squared)
        distance = squared.detach().sqrt()
        missing = torch.relu(margin - distance)
        return with_gradient_of(missing.square(), -missing / (distance + NEAR) * squared)

    def gradient_to(self, bottom: int) -> bool:
        return bottom < 2
