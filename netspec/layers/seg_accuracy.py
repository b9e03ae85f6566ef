"""SegAccuracy: scores of a segmentation, from the confusion matrix of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.errors import LayerError, SpecError
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class SegAccuracy(Layer):
    """top 0 = (pixel accuracy, mean recall, mean IU); top 1 + i = (precision, recall, IU) of class output_label[i].

    With M[g, p] the number of places of class g taken for p: Σ M[g, g] / Σ M; the mean of M[g, g] / Σ_p M[g, p] over
    the classes that occur; the mean over all classes of M[g, g] / (Σ_p M[g, p] + Σ_p M[p, g] − M[g, g]), where a class
    that is neither there nor found counts 1. Places whose label is an `ignore_label` do not count. The class of a place
    is its first greatest score; with one channel it is 1 where the score exceeds 0.5.
    Shapes: scores (N x C x H x W), labels (N x 1 x H x W) -> 1 x 1 x 1 x 3 each.
    Errors: labels of another shape; tops that are not one and one per output_label; an output_label or a label outside
        the classes.
    Source: DeepLab's and PSPNet's SegAccuracy; precision and recall of a class without places are 0, not a number
        there. No gradient flows through it.
    """

    settings = "seg_accuracy_param"
    bottoms = (2, 2)
    tops = (1, None)
    refuses = True

    def setup(self) -> None:
        wanted = 1 + len(self.p.output_label)
        if len(self.proto.top) != wanted:
            message = f"has {counted(len(self.proto.top), 'top')} and takes {wanted}: one and one per output_label"
            raise LayerError(message, field="top")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        scores, labels = bottoms
        if len(scores) != 4 or labels != (scores[0], 1, *scores[2:]):
            raise self.fail(f"bottoms {list(scores)} and {list(labels)} must be N x C x H x W and N x 1 x H x W")
        for label in self.p.output_label:
            if not 0 <= label < max(2, scores[1]):
                raise self.fail(f"output_label {label} is outside the {max(2, scores[1])} classes", "output_label")
        return [(1, 1, 1, 3)] * len(self.proto.top)

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        m = self.confusion(bottoms[0].detach(), bottoms[1].detach()).double()
        hits, there, found = m.diagonal(), m.sum(1), m.sum(0)
        recall, precision = hits / there.clamp(min=1), hits / found.clamp(min=1)
        union = there + found - hits
        iu = torch.where(union > 0, hits / union.clamp(min=1), 1)
        occurring = (there > 0).sum().clamp(min=1)
        rows = [torch.stack([hits.sum() / m.sum().clamp(min=1), recall.sum() / occurring, iu.mean()])]
        rows += [torch.stack([precision[c], recall[c], iu[c]]) for c in self.p.output_label]
        return [row.to(bottoms[0].dtype).reshape(1, 1, 1, 3) for row in rows]

    def confusion(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """M[g, p], the number of places of class g taken for p."""
        classes = max(2, scores.shape[1])
        guess = scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).long()
        label = labels[:, 0].long()
        counted = torch.ones_like(label, dtype=torch.bool)
        for ignored in self.p.ignore_label:
            counted &= label != ignored
        label, guess = label[counted], guess[counted]
        outside = (label < 0) | (label >= classes)
        if outside.any():
            value = label[outside][0].item()
            raise SpecError(f"label {value} is outside the {classes} classes 0 to {classes - 1}")
        return torch.bincount(label * classes + guess, minlength=classes * classes).reshape(classes, classes)

    def gradient_to(self, bottom: int) -> bool:
        return False
