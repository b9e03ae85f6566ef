"""EvalDetection: which of YOLO's detections are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec import schema
from netspec.layers.base import Layer, Shape
from netspec.layers.boxes import descending, overlaps
from netspec.layers.regions import (
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

LEAST_SCORE = 0.005


class EvalDetection(Layer):
    """Per image: the number of true boxes of each class, then (class, score, right, wrong) per detection, then zeros.

    A cell's anchor gives one box, of its likeliest class; its score is the objectness (OBJ), the class's probability
    (PROB) or their product (MULTIPLY). With nms not below 0, a box that overlaps a better one, of whatever class, by
    nms or more goes, and so does one of a score less than 0.005. A detection is right when the true box of its class
    that it overlaps most is overlapped by `threshold` at least and belongs to no better one; else it is wrong. They
    are ordered by class and score.
    Shapes: N x num_object (5 + num_class) x side x side, true boxes as for RegionLoss -> N x (num_class + 4 side²
        num_object).
    Errors: biases not two per num_object; bottoms of another form; another side; a class outside num_class.
    Source: YOLO in Caffe, second version (Redmon and Farhadi 2017). No gradient. A wrong detection that overlaps no
        true box enough is marked wrong, as in the first version; the second marks nothing. sqrt and constriant are the
        first version's and change nothing.
    """

    settings = "eval_detection_param"
    bottoms = (2, 2)
    refuses = True

    def setup(self) -> None:
        self.score_type = schema.enum_name(self.p, "score_type")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p = self.p
        check_cells(self, bottoms[0], p.num_object, p.num_class, p.biases, "num_object")
        check_side(self, p.side, bottoms[0])
        check_labels(self, bottoms[1], bottoms[0][0])
        return [(bottoms[0][0], p.num_class + 4 * p.side * p.side * p.num_object)]

    def plausible(self, bottom: int, shape: Shape) -> np.ndarray | None:
        return example_labels(shape) if bottom == 1 else None

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        p = self.p
        values = cells(bottoms[0], p.num_object)
        boxes = corners(predicted_boxes(values, np.array(p.biases, values.dtype).reshape(-1, 2)))
        chances = softmax(values[..., 5:])
        score = self.score(sigmoid(values[..., 4]), chances.max(-1))
        out = np.zeros(self.shapes([tuple(b.shape) for b in bottoms])[0], values.dtype)
        for image, truth in enumerate(read_labels(bottoms[1], len(values))):
            labels = truth[:, 0].astype(np.int64)
            if len(labels) and not (labels.min() >= 0 and labels.max() < p.num_class):
                raise self.fail(f"a true box has a class outside the {p.num_class} classes", "num_class")
            out[image, : p.num_class] = np.bincount(labels, minlength=p.num_class)
            found = self.found(boxes[image].reshape(-1, 4), score[image].ravel(), chances[image].argmax(-1).ravel())
            rows = self.rows(*found, corners(truth[:, 1:]), labels)
            out[image, p.num_class : p.num_class + rows.size] = rows.ravel()
        return [torch.from_numpy(out).to(bottoms[0].device)]

    def score(self, objectness: np.ndarray, chance: np.ndarray) -> np.ndarray:
        return {"OBJ": objectness, "PROB": chance, "MULTIPLY": objectness * chance}[self.score_type]

    def found(
        self, boxes: np.ndarray, score: np.ndarray, label: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and classes of what is left, by class and score."""
        order = descending(score)
        if self.p.nms >= 0:
            kept: list[int] = []
            gone = np.zeros(len(order), bool)
            for at in range(len(order)):
                if not gone[at]:
                    kept.append(at)
                    rest = boxes[order[at + 1 :]]
                    gone[at + 1 :] |= overlaps(boxes[order[at : at + 1]], rest)[0] >= self.p.nms
            order = order[kept]
            order = order[score[order] >= LEAST_SCORE]
        order = order[np.argsort(label[order], kind="stable")]
        return boxes[order], score[order], label[order]

    def rows(
        self, boxes: np.ndarray, score: np.ndarray, label: np.ndarray, truth: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """(class, score, right, wrong) of detections, best first within a class."""
        rows = np.stack([label.astype(score.dtype), score, 0 * score, 0 * score + 1], 1)
        taken = np.zeros(len(truth), bool)
        for row, box, own in zip(rows, boxes, label, strict=True):
            which = np.flatnonzero(labels == own)
            if not len(which):
                continue
            shared = overlaps(box[None], truth[which])[0]
            best = which[shared.argmax()]
            if shared.max() >= self.p.threshold and not taken[best]:
                taken[best] = True
                row[2:] = 1, 0
        return rows

    def gradient_to(self, bottom: int) -> bool:
        return False
