"""MultinomialLogisticLoss: the logarithm of the label's probability."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape
from netspec.layers.labels import read_labels
from netspec.layers.losses import LEAST_PROBABILITY, Loss, wide, with_gradient_of
from netspec.lazytorch import torch


class MultinomialLogisticLoss(Loss):
    """loss = −1 / N Σ_n log max(p_n,label, 1e-20).

    Shapes: probabilities N x K (everything after axis 0 is a class), labels N (x 1 ...) -> a scalar.
    Errors: another number of labels than rows, a label outside the classes.
    Source: Caffe's MultinomialLogisticLoss; the gradient is −1 / (N max(p, 1e-20)), also below 1e-20. Labels take none.
    """

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        self.one_per_row(bottoms, 1)
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        p = wide(bottoms[0]).reshape(len(bottoms[0]), -1)
        target, _ = read_labels(bottoms[1], p, 1, None)
        picked = p.gather(1, target)
        held = picked.detach().clamp(min=LEAST_PROBABILITY)
        return [-with_gradient_of(held.log(), picked / held).sum() / len(p)]
