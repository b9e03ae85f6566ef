"""Accuracy: how often the label is among the best scores."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape
from netspec.layers.labels import label_axis, read_labels
from netspec.lazytorch import torch


class Accuracy(Layer):
    """top = the share of places where fewer than top_k other classes score as high as the label: a tie is wrong.

    Places whose label is `ignore_label` do not count; with none left, or for a class that never occurs, it is 0.
    Shapes: scores with classes along `axis` (default 1), labels (one number per place) -> a scalar; a second top has
        one accuracy per class.
    Errors: an axis outside the scores; top_k above the number of classes; labels of another number; a label outside
        the classes.
    Source: Caffe's Accuracy. No gradient flows through it.
    """

    settings = "accuracy_param"
    bottoms = (2, 2)
    tops = (1, 2)
    refuses = True

    def setup(self) -> None:
        self.ignore: int | None = self.p.ignore_label if self.p.HasField("ignore_label") else None

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        classes = bottoms[0][label_axis(self, self.p.axis, bottoms)]
        if self.p.top_k > classes:
            raise self.fail(f"top_k {self.p.top_k} is more than the {classes} classes", "top_k")
        return [(), (classes,)][: max(1, len(self.proto.top))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        with torch.no_grad():
            scores, axis = bottoms[0].detach(), self.p.axis % bottoms[0].ndim
            target, counted = read_labels(bottoms[1], scores, axis, self.ignore)
            others = (scores >= scores.gather(axis, target)).sum(axis, keepdim=True) - 1
            right = (others < self.p.top_k).float()
            weight = torch.ones_like(right) if counted is None else counted.float()
            tops = [(right * weight).sum() / weight.sum().clamp(min=1)]
            if len(self.proto.top) > 1:
                tops.append(per_class(right * weight, weight, target, scores.shape[axis]))
            return tops

    def gradient_to(self, bottom: int) -> bool:
        return False


def per_class(right: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, classes: int) -> torch.Tensor:
    """The share of right places among those of each class."""
    index = target.flatten()
    zeros = torch.zeros(classes, device=right.device)
    hits = zeros.scatter_add(0, index, right.flatten())
    return hits / zeros.scatter_add(0, index, weight.flatten()).clamp(min=1)
