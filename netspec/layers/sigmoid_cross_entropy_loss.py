"""SigmoidCrossEntropyLoss: the cross entropy of independent yes-or-no scores."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, count
from netspec.layers.losses import Loss, wide
from netspec.layers.normalization import normalizer
from netspec.lazytorch import F, torch


class SigmoidCrossEntropyLoss(Loss):
    """loss = −(1 / Z) Σ { t log p + (1 − t) log(1 − p) }, p = sigmoid(x), over targets t that are not ignore_label.

    Z is the normaliser of loss_param, by default N (BATCH_SIZE) even where targets are ignored.
    Shapes: scores N x rest, targets N x as many values -> a scalar.
    Errors: another first axis or number of values.
    Source: Caffe's SigmoidCrossEntropyLoss; targets are cut to whole numbers before they are compared with
        ignore_label, so 0.7 is ignored with ignore_label 0. Targets take no gradient.
    """

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        if count(bottoms[0]) != count(bottoms[1]):
            raise self.fail(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} differ in the number of values")
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores = wide(bottoms[0])
        target = bottoms[1].detach().to(scores.dtype).reshape(scores.shape)
        losses = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        loss_param, valid = self.proto.loss_param, None
        if loss_param.HasField("ignore_label"):
            counted = target.trunc() != loss_param.ignore_label
            losses, valid = losses.masked_fill(~counted, 0), counted.sum()
        outer, inner = scores.shape[0], scores[0].numel()
        return [losses.sum() / normalizer(loss_param, outer, inner, valid, "BATCH_SIZE")]
