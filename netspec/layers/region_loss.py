"""RegionLoss: the loss of YOLO's second version."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from netspec.layers.base import Shape
from netspec.layers.boxes import overlaps
from netspec.layers.losses import Loss
from netspec.layers.regions import (
    COORDS,
    cells,
    check_cells,
    check_labels,
    check_side,
    corners,
    example_labels,
    predicted_boxes,
    read_labels,
    sigmoid,
    softmax,
)
from netspec.lazytorch import torch


class RegionLoss(Loss):
    """loss = Σ d² / N with d the gradients (but for 1 / N) that Darknet's rules give, per cell and anchor.

    o is the sigmoid of the objectness, p the softmax over the classes. Everywhere d_o = noobject_scale · o · o (1 − o),
    but 0 where the predicted box overlaps a true one by more than thresh. Every true box belongs to the cell of its
    centre and the anchor whose size fits it best (bias_match; else the predicted size). There, with t what the box
    should be: d_xy = coord_scale · (σ(xy) − t) σ (1 − σ), d_wh = coord_scale · (wh − log(t · side / bias)), d_o =
    object_scale · (o − 1, or with rescore o − the overlap) o (1 − o), d_class = class_scale · (p − 1 at the class).
    Without rescore, coord_scale counts (2 − t_w t_h) times.
    Shapes: N x num (5 + num_class) x side x side, true boxes 1 x 1 x boxes x 8 or N x 5 · boxes (class, centre, size)
        -> a scalar.
    Errors: coords other than 4; biases not two per anchor; softmax_tree or class_map; bottoms of another form; another
        side than a given one; a class outside num_class; a true box whose centre is outside of the image.
    Source: YOLO in Caffe (Redmon and Farhadi 2017). The gradient is d / N, not that of the loss. jitter, random,
        absolute and softmax change nothing; the first iterations' pull towards the anchors is left out.
    """

    settings = "region_loss_param"

    def setup(self) -> None:
        if self.p.coords != COORDS:
            raise self.fail(f"coords {self.p.coords} must be {COORDS}", "coords")
        for field in ("softmax_tree", "class_map"):
            if getattr(self.p, field):
                raise self.fail(f"{field} is not supported: classes are flat here", field)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_cells(self, bottoms[0], self.p.num, self.p.num_class, self.p.biases, "num")
        if self.p.HasField("side"):
            check_side(self, self.p.side, bottoms[0])
        check_labels(self, bottoms[1], bottoms[0][0])
        return [()]

    def plausible(self, bottom: int, shape: Shape) -> np.ndarray | None:
        return example_labels(shape) if bottom == 1 else None

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        gradient = np.ascontiguousarray(self.differences(bottoms).transpose(0, 3, 4, 1, 2))
        d = torch.from_numpy(gradient).to(bottoms[0]).reshape(bottoms[0].shape)
        return [_loss()(bottoms[0], d)]

    def differences(self, bottoms: Sequence[torch.Tensor]) -> np.ndarray:
        """d, N x side x side x anchors x values."""
        values = cells(bottoms[0], self.p.num)
        biases = np.array(self.p.biases, values.dtype).reshape(-1, 2)
        boxes = predicted_boxes(values, biases)
        d = np.zeros_like(values)
        d[..., 4] = self.p.noobject_scale * slope(values[..., 4]) * sigmoid(values[..., 4])
        for image, truth in enumerate(read_labels(bottoms[1], len(values))):
            if len(truth):
                shared = overlaps(corners(boxes[image].reshape(-1, 4)), corners(truth[:, 1:])).max(1)
                d[image, ..., 4][shared.reshape(d.shape[1:4]) > self.p.thresh] = 0
            for row in truth:
                self.own(row, values[image], boxes[image], biases, d[image])
        return d

    def own(self, row: np.ndarray, values: np.ndarray, boxes: np.ndarray, biases: np.ndarray, d: np.ndarray) -> None:
        """Writes d of the anchor that a true box belongs to."""
        p, side, label, truth = self.p, len(values), int(row[0]), row[1:]
        if not 0 <= label < p.num_class:
            raise self.fail(f"a true box has class {label}, outside the {p.num_class} classes", "num_class")
        x, y = (int(c * side) for c in truth[:2])
        if not (0 <= truth[0] < 1 and 0 <= truth[1] < 1):
            raise self.fail(f"a true box has its centre at {truth[0]:g}, {truth[1]:g}, outside of the image")
        sizes = biases / side if p.bias_match else boxes[y, x, :, 2:]
        n = int(
            overlaps(corners(np.pad(sizes, ((0, 0), (2, 0)))), corners(np.pad(truth[2:], (2, 0))[None]))[:, 0].argmax()
        )
        cell, out = values[y, x, n], d[y, x, n]
        iou = overlaps(corners(boxes[y, x, n][None]), corners(truth[None]))[0, 0]
        scale = p.coord_scale if p.rescore else p.coord_scale * (2 - truth[2] * truth[3])
        out[:2] = scale * (sigmoid(cell[:2]) - (truth[:2] * side - (x, y))) * slope(cell[:2])
        out[2:4] = scale * (cell[2:4] - np.log(truth[2:] * side / biases[n]))
        out[4] = p.object_scale * (sigmoid(cell[4]) - (iou if p.rescore else 1)) * slope(cell[4])
        out[5:] = p.class_scale * (softmax(cell[5:]) - (np.arange(p.num_class) == label))


def slope(x: np.ndarray) -> np.ndarray:
    """The sigmoid's derivative."""
    return sigmoid(x) * (1 - sigmoid(x))


@lru_cache(maxsize=1)
def _loss() -> Any:
    """Σ d² / N, whose gradient is d / N."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(d)
            return d.square().sum() / len(x)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
            (d,) = ctx.saved_tensors
            return d * (grads[0] / len(d)), None

    return Function.apply
