"""SmoothL1LossOHEM: a smooth L1 loss that also tells each example's share."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, count
from netspec.layers.losses import wide
from netspec.layers.normalization import normalizer
from netspec.layers.smooth_l1_loss import Regression, smooth_l1
from netspec.lazytorch import torch


class SmoothL1LossOHEM(Regression):
    """loss = (1 / Z) Σ f(weight · (prediction − target)), f(d) = d² / 2 where |d| < 1, else |d| − 1/2.

    Z is as in SoftmaxWithLoss, of N x height x width places that all count.
    Shapes: predictions N x C x H x W, targets, and on demand weights, all of one shape -> a scalar, and on demand the
        sum over channels of each place's f, N x 1 x H x W.
    Errors: bottoms of different shape or without channels.
    Source: R-FCN's SmoothL1LossOHEM (Dai et al. 2016, Shrivastava et al. 2016). Weights and the second top pass no
        gradient on.
    """

    settings = "loss_param"
    bottoms = (2, 3)
    tops = (1, 2)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        super().shapes(bottoms)
        shape = bottoms[0]
        if len(shape) < 2:
            raise self.fail(f"bottom 0 {list(shape)} must have channels")
        places = (shape[0], 1, *(shape[2:] if len(shape) > 2 else (1, 1)))
        return [(), places][: max(1, len(self.proto.top))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        prediction = wide(bottoms[0])
        target, *weights = (wide(b).reshape(prediction.shape) for b in bottoms[1:])
        difference = prediction - target
        error = smooth_l1(weights[0].detach() * difference if weights else difference)
        shape = tuple(prediction.shape)
        loss = error.sum() / normalizer(self.p, shape[0], count(shape, 2), None)
        if len(self.proto.top) < 2:
            return [loss]
        return [loss, error.detach().sum(1).reshape(self.shapes([shape, shape])[1])]
