"""Mean average precision over the rows of DetectionEvaluate, as SSD's solver gives it for eval_type "detection".

mAP is the mean over all classes of the area under precision p over recall r, taken along the detections by score; one
of several points i where recall is the same counts as SSD counts it. A class without detections or boxes has 0.

    Integral     Σ p_i (r_i − r_i−1)
    MaxIntegral  Σ (greatest p_j, j ≥ i) (r_i − r_i−1), VOC since 2010
    11point      Σ over t = 0, 0.1, ..., 1 of (the greatest p where r ≥ t) / 11, VOC before
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netspec.ir.graph import Blob
from netspec.layers.detection_evaluate import DetectionEvaluate

if TYPE_CHECKING:
    from netspec.net import Net

DEFAULT = "Integral"
LEAST_STEP = 1e-6


def evaluated(net: Net) -> list[Blob]:
    """The outputs of a net that hold rows of DetectionEvaluate."""
    tops = {top for step in net.steps if isinstance(step.layer, DetectionEvaluate) for top in step.spec.tops}
    return [blob for blob in net.graph.outputs if blob in tops]


def precisions(batches: Sequence[np.ndarray], version: str = DEFAULT) -> dict[int, float]:
    """Each class's average precision over all batches' rows (image, class, number or score, right, wrong)."""
    rows = np.concatenate([batch.reshape(-1, 5) for batch in batches])
    counts, found = rows[rows[:, 0] == -1], rows[rows[:, 0] != -1]
    found = found[(found[:, 3] != 0) | (found[:, 4] != 0)]
    out = {}
    for label in np.unique(counts[:, 1]):
        own = found[found[:, 1] == label]
        own = own[np.argsort(-own[:, 2], kind="stable")]
        boxes = counts[counts[:, 1] == label, 2].sum()
        out[int(label)] = average_precision(own[:, 3].cumsum(), own[:, 4].cumsum(), boxes, version)
    return out


def average_precision(right: np.ndarray, wrong: np.ndarray, boxes: float, version: str) -> float:
    """From the numbers of right and wrong detections up to each, best first, and the number of true boxes."""
    if not len(right) or not boxes:
        return 0.0
    return VERSIONS[version](right / np.maximum(right + wrong, 1), right / boxes)


def _integral(precision: np.ndarray, recall: np.ndarray) -> float:
    steps = np.diff(recall, prepend=0)
    return float((precision * steps)[steps > LEAST_STEP].sum())


def _max_integral(precision: np.ndarray, recall: np.ndarray) -> float:
    return _integral(np.maximum.accumulate(precision[::-1])[::-1], recall)


def _eleven_points(precision: np.ndarray, recall: np.ndarray) -> float:
    points = [precision[recall >= t] for t in np.arange(11) / 10]
    return float(sum(p.max() for p in points if len(p)) / 11)


VERSIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Integral": _integral,
    "MaxIntegral": _max_integral,
    "11point": _eleven_points,
}


def mean(precisions: dict[int, float]) -> float:
    """mAP."""
    return sum(precisions.values()) / max(1, len(precisions))
