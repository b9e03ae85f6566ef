"""SoftmaxWithLossOHEM: a softmax loss that also tells each example's share."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape
from netspec.layers.labels import read_labels
from netspec.layers.softmax_with_loss import LOG_FLT_MIN, SoftmaxWithLoss
from netspec.lazytorch import F, torch


class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss; its third top is each place's −log max(p_label, FLT_MIN), 0 where the label is ignored.

    Shapes: scores, labels -> a scalar, and on demand p (as the scores) and each place's loss (as the labels).
    Errors: those of SoftmaxWithLoss.
    Source: R-FCN's SoftmaxWithLossOHEM (Dai et al. 2016, Shrivastava et al. 2016). Only the first top passes a gradient
        on.
    """

    tops = (1, 3)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [*super().shapes(bottoms), bottoms[1]][: max(1, len(self.proto.top))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        tops = super().forward(bottoms, params)
        if len(self.proto.top) < 3:
            return tops
        scores, axis = bottoms[0].detach(), self.p.axis % bottoms[0].ndim
        target, counted = read_labels(bottoms[1], scores, axis, self.ignore)
        share = -F.log_softmax(scores, axis, dtype=tops[0].dtype).gather(axis, target).clamp(min=LOG_FLT_MIN)
        if counted is not None:
            share = share.masked_fill(~counted, 0)
        return [*tops, share.reshape(bottoms[1].shape)]
