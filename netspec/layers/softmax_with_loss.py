"""SoftmaxWithLoss: the multinomial logistic loss of scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from netspec.errors import LayerError
from netspec.ir.words import counted
from netspec.layers.base import Shape
from netspec.layers.labels import label_axis, read_labels
from netspec.layers.losses import Loss
from netspec.layers.normalization import normalizer
from netspec.lazytorch import F, torch

LOG_FLT_MIN = -87.33654475055310


class SoftmaxWithLoss(Loss):
    """loss = −(1 / Z) Σ w_label log max(p_label, FLT_MIN), p the softmax over the classes along `axis` (default 1).

    The sum is over the places whose label is not `ignore_label`. Z is at least 1: the number of those places (VALID,
    the default), of all places (FULL), of places before `axis` (BATCH_SIZE), or 1 (NONE). The gradient is
    w_label (p − 1 at the label) / Z, also where p is less than FLT_MIN. It is computed in fp32 at least. w is 1; with
    weight_by_label_freqs it is class_weighting of the class, or, without one, 1 over its number of places in the batch.
    Shapes: scores, labels (one number per place, any shape) -> a scalar, and on demand p (as the scores).
    Errors: an axis outside the scores; labels of another number or another first axis; a label outside the classes;
        class_weighting that is not one per class.
    Source: Caffe's SoftmaxWithLoss; SegNet's for the weights. Labels take no gradient, p passes none on.
    """

    settings = "softmax_param"
    tops = (1, 2)

    def setup(self) -> None:
        p = self.proto.loss_param
        self.ignore: int | None = p.ignore_label if p.HasField("ignore_label") else None
        self.weighting = list(p.class_weighting) if p.weight_by_label_freqs else None

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        classes = bottoms[0][label_axis(self, self.p.axis, bottoms)]
        self.same_batch(bottoms)
        if self.weighting and len(self.weighting) != classes:
            message = f"class_weighting is given {counted(len(self.weighting), 'time')} for {classes} classes"
            raise LayerError(message, field="loss_param.class_weighting")
        return [(), bottoms[0]][: max(1, len(self.proto.top))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores, axis = bottoms[0], self.p.axis % bottoms[0].ndim
        target, counted = read_labels(bottoms[1], scores, axis, self.ignore)
        outer = scores.shape[:axis].numel()
        valid = None if counted is None else counted.sum()
        divisor = normalizer(self.proto.loss_param, outer, target.numel() // max(outer, 1), valid)
        loss = _loss()(scores, target, counted, divisor, axis, self.weights(target, counted, scores.shape[axis]))
        if len(self.proto.top) < 2:
            return [loss]
        return [loss, F.softmax(scores.detach(), axis, dtype=loss.dtype)]

    def weights(self, target: torch.Tensor, counted: torch.Tensor | None, classes: int) -> torch.Tensor | None:
        """w of each place; None is 1 everywhere."""
        if self.weighting is None:
            return None
        if self.weighting:
            return torch.tensor(self.weighting, device=target.device)[target]
        here = target if counted is None else target[counted]
        return (1 / torch.bincount(here.flatten(), minlength=classes).clamp(min=1))[target]


@lru_cache(maxsize=1)
def _loss() -> Any:
    """By hand, so that between forward and backward only log p is kept, and backward adds one blob: the gradient."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            scores: torch.Tensor,
            target: torch.Tensor,
            counted: torch.Tensor | None,
            divisor: torch.Tensor | int,
            axis: int,
            each: torch.Tensor | None,
        ) -> torch.Tensor:
            dtype = torch.promote_types(scores.dtype, torch.float32)
            log_p = F.log_softmax(scores, axis, dtype=dtype)
            weight = (torch.ones_like(target) if counted is None else counted).to(dtype) / divisor
            weight = weight if each is None else weight * each
            ctx.save_for_backward(log_p, target, weight)
            ctx.axis, ctx.dtype = axis, scores.dtype
            picked = log_p.gather(axis, target).clamp(min=LOG_FLT_MIN)
            if counted is not None:
                picked = picked.masked_fill(~counted, 0)
            return -picked.sum() / divisor if each is None else -(picked * each).sum() / divisor

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            log_p, target, weight = ctx.saved_tensors
            grad = F.softmax(log_p, ctx.axis)  # p once more; exp is many times slower where it comes near zero
            grad.scatter_add_(ctx.axis, target, torch.full_like(weight, -1))
            return grad.mul_(weight * grads[0]).to(ctx.dtype), None, None, None, None, None

    return Function.apply
