"""DetectionOutput: boxes found in images, from location and confidence predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec import schema
from netspec.layers.base import Layer, Shape
from netspec.layers.boxes import array, decode, descending, suppress
from netspec.layers.priors import check_predictions, read_priors
from netspec.lazytorch import torch

COLUMNS = 7


class DetectionOutput(Layer):
    """Rows (image, label, confidence, xmin, ymin, xmax, ymax) of the boxes found, in shares of the image.

    Per class but the background: the predicted boxes above confidence_threshold, the nms_param.top_k best of them, less
    those that overlap a better one by more than nms_threshold; of an image's rows the keep_top_k best.

    Predictions move the prior boxes as code_type says, times the variances unless variance_encoded_in_target. With eta
    less than 1, each box that stays multiplies a threshold above 0.5 by eta.

    Shapes: locations N x 4 · priors (· classes without share_location), confidences N x priors · classes, priors
        1 x 2 x 4 · priors, further bottoms unread -> 1 x 1 x rows x 7; how many rows there are depends on the data, 1
        stands for it. Rows are ordered by image, class and confidence. Without any, there is one row (image, −1, ...,
        −1) per image.
    Errors: num_classes missing; nms_threshold less than 0; eta not above 0 up to 1; predictions of another number than
        the priors'.
    Source: SSD's DetectionOutput (Liu et al. 2016). save_output_param and visualize write and show nothing here.
    """

    settings = "detection_output_param"
    bottoms = (3, 4)
    refuses = True

    def setup(self) -> None:
        p = self.p
        if not p.num_classes:
            raise self.fail("num_classes is missing or 0", "num_classes")
        if p.nms_param.nms_threshold < 0:
            raise self.fail(
                f"nms_threshold {p.nms_param.nms_threshold:g} must not be negative", "nms_param.nms_threshold"
            )
        if not 0 < p.nms_param.eta <= 1:
            raise self.fail(f"eta {p.nms_param.eta:g} must be above 0 and at most 1", "nms_param.eta")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_predictions(self, bottoms, self.p.num_classes, self.p.share_location)
        return [(1, 1, 1, COLUMNS)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        prior, variance = read_priors(bottoms[2])
        classes = 1 if self.p.share_location else self.p.num_classes
        moves = array(bottoms[0]).reshape(len(bottoms[0]), len(prior), classes, 4)
        scores = array(bottoms[1]).reshape(len(bottoms[1]), len(prior), self.p.num_classes)
        if not self.p.variance_encoded_in_target:
            moves = moves * variance[:, None]
        boxes = decode(schema.enum_name(self.p, "code_type"), prior[:, None], moves)
        rows = np.concatenate([self.image_rows(i, *found) for i, found in enumerate(zip(boxes, scores, strict=True))])
        if not len(rows):
            rows = np.full((len(boxes), COLUMNS), -1, scores.dtype)
            rows[:, 0] = np.arange(len(boxes))
        return [torch.from_numpy(rows[None, None]).to(bottoms[1].device)]

    def image_rows(self, image: int, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """One image's rows; boxes are priors x classes x 4, scores priors x classes."""
        found = []
        for label in range(self.p.num_classes):
            if label == self.p.background_label_id:
                continue
            own = boxes[:, 0 if self.p.share_location else label]
            places = self.stay(own, scores[:, label])
            head = np.broadcast_to(np.array([image, label], scores.dtype), (len(places), 2))
            found.append(np.concatenate([head, scores[places, label, None], own[places]], 1))
        rows = np.concatenate(found) if found else np.empty((0, COLUMNS), scores.dtype)
        most = self.p.keep_top_k
        if -1 < most < len(rows):
            rows = rows[descending(rows[:, 2])[:most]]
            rows = rows[np.argsort(rows[:, 1], kind="stable")]
        return rows

    def stay(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Which of one class's boxes stay, best first."""
        p, nms = self.p, self.p.nms_param
        places = np.arange(len(scores))
        if p.HasField("confidence_threshold"):
            places = np.flatnonzero(scores > np.float32(p.confidence_threshold))
        places = places[descending(scores[places])]
        if nms.HasField("top_k") and nms.top_k > -1:
            places = places[: nms.top_k]
        return places[suppress(boxes[places], nms.nms_threshold, nms.eta)]

    def gradient_to(self, bottom: int) -> bool:
        return False
