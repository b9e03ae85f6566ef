"""HingeLoss: one-versus-all margins."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.layers.base import Shape
from netspec.layers.labels import read_labels
from netspec.layers.losses import Loss, wide
from netspec.lazytorch import torch


class HingeLoss(Loss):
    """loss = 1 / N Σ_n Σ_k max(0, 1 − s x_nk)^p, s = 1 where k is the label of n, else −1; p 1 or 2 (norm L1, L2).

    Shapes: N x K (everything after axis 0 is a class), labels N (x 1 ...) -> a scalar.
    Errors: another number of labels than rows, a label outside the classes.
    Source: Caffe's HingeLoss; exactly on the margin the gradient is 0. Labels take none.
    """

    settings = "hinge_loss_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        self.one_per_row(bottoms, 1)
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores = wide(bottoms[0]).reshape(len(bottoms[0]), -1)
        target, _ = read_labels(bottoms[1], scores, 1, None)
        sign = torch.ones_like(scores).scatter(1, target, -1.0)
        missing = torch.relu(1 + sign * scores)
        missing = missing.square() if schema.enum_name(self.p, "norm") == "L2" else missing
        return [missing.sum() / len(scores)]
