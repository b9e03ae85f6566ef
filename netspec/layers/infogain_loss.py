"""InfogainLoss: the logistic loss with a weight for every pair of classes."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod

from netspec.errors import LayerError, SpecError
from netspec.layers.base import Shape, count
from netspec.layers.labels import label_axis, read_labels
from netspec.layers.losses import LEAST_PROBABILITY, Loss, wide, with_gradient_of
from netspec.layers.normalization import normalizer
from netspec.layers.stored import read_blob
from netspec.lazytorch import F, torch


class InfogainLoss(Loss):
    """loss = −(1 / Z) Σ_places Σ_k H[label, k] log max(p_k, 1e-20), p the softmax along `axis`.

    H (K x K) is bottom 2, or read from `source`, a binary BlobProto. Z is the normaliser of loss_param: by default the
    number of places whose label is not ignore_label.
    Shapes: scores with K classes along the axis, one label per place, maybe H -> a scalar, maybe p (a second top).
    Errors: neither source nor bottom 2, loss_param's old normalize, another number of labels than
        places, H of other than K² values.
    Source: Caffe's InfogainLoss; the gradient is that of log p also below 1e-20. Labels, H and a gradient on the
        second top count for nothing backward.
    """

    settings = "infogain_loss_param"
    bottoms = (2, 3)
    tops = (1, 2)

    def setup(self) -> None:
        p = self.proto.loss_param
        if p.HasField("normalize"):
            raise LayerError("normalize is not supported: give normalization", field="loss_param.normalize")
        self.ignore: int | None = p.ignore_label if p.HasField("ignore_label") else None
        self.read: torch.Tensor | None = None
        if len(self.proto.bottom) < 3 and not self.p.source:
            raise self.fail("the infogain matrix is missing: give source, or a third bottom", "source")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.same_batch(bottoms)
        classes = bottoms[0][label_axis(self, self.p.axis, bottoms)]
        if len(bottoms) > 2:
            self.check_matrix(bottoms[2], classes)
        return [(), bottoms[0]][: max(1, len(self.proto.top))]

    def check_matrix(self, shape: Sequence[int], classes: int) -> None:
        if count(shape) != classes**2:
            raise self.fail(f"the infogain matrix {list(shape)} must be {classes} x {classes}", "source")

    def matrix(self, bottoms: list[torch.Tensor], scores: torch.Tensor, classes: int) -> torch.Tensor:
        """H; a file is read once."""
        if len(bottoms) > 2:
            return bottoms[2].detach().to(scores.dtype).reshape(classes, classes)
        if self.read is None:
            try:
                self.read = torch.from_numpy(read_blob(self.p.source, self.context))
            except SpecError as e:
                raise self.fail(str(e).replace("error: ", ""), "source") from None
        self.check_matrix(self.read.shape, classes)
        self.read = self.read.to(scores).reshape(classes, classes)
        return self.read

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores, axis = wide(bottoms[0]), self.p.axis % bottoms[0].ndim
        target, counted = read_labels(bottoms[1], scores, axis, self.ignore)
        weights = self.matrix(bottoms, scores, scores.shape[axis])[target.squeeze(axis)].movedim(-1, axis)
        weights = weights if counted is None else weights * counted
        log_p = F.log_softmax(scores, axis)
        loss = with_gradient_of(-(weights * log_p.clamp(min=log(LEAST_PROBABILITY))).sum(), -(weights * log_p).sum())
        outer, inner = prod(scores.shape[:axis]), prod(scores.shape[axis + 1 :])
        divisor = normalizer(self.proto.loss_param, outer, inner, None if counted is None else counted.sum())
        return [loss / divisor, log_p.detach().exp()][: max(1, len(self.proto.top))]

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(bottoms[0])
