"""Segmentation scores from a confusion matrix n, n[i, j] pixels of class i predicted as class j; t_i = sum_j n[i, j].

pixel acc. = sum n_ii / sum t_i;  mean acc. = mean of n_ii / t_i;  IU_i = n_ii / (t_i + sum_j n[j, i] - n_ii);
mean IU = mean of IU_i;  f.w. IU = sum t_i IU_i / sum t_i.  A class absent from truth and prediction has no IU and is
left out, one absent from the truth has no accuracy. Source: Long, Shelhamer, Darrell, CVPR 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.data.classes import VOID
from netspec.errors import SpecError


class Confusion:
    """`counts` (classes x classes, int64, truth by prediction) over all images given to `update`."""

    def __init__(self, classes: int, ignore: int = VOID) -> None:
        if classes < 1:
            raise SpecError(f"scores need at least 1 class, not {classes}")
        self.classes, self.ignore = classes, ignore
        self.counts = np.zeros((classes, classes), dtype=np.int64)

    def update(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Counts one image or more; both arrays hold class numbers and agree in shape but for axes of size 1."""
        truth, guess = np.squeeze(np.asarray(label)), np.squeeze(np.asarray(prediction))
        if truth.shape != guess.shape:
            raise SpecError(f"label is {_shape(truth)}, its prediction {_shape(guess)}")
        seen = truth != self.ignore
        truth, guess = self._numbers("label", truth[seen]), self._numbers("prediction", guess[seen])
        pairs = np.bincount(truth * self.classes + guess, minlength=self.classes**2)
        self.counts += pairs.reshape(self.classes, self.classes)

    def merge(self, other: Confusion) -> None:
        """Adds what another has counted."""
        if other.classes != self.classes:
            raise SpecError(f"cannot merge scores of {other.classes} classes into those of {self.classes}")
        self.counts += other.counts

    def scores(self) -> dict[str, Any]:
        """pixel_acc, mean_acc, mean_iu, fw_iu as floats and iu, a list; nan where nothing was counted."""
        hit = np.diag(self.counts).astype(np.float64)
        truth, guess = self.counts.sum(axis=1), self.counts.sum(axis=0)
        iu, acc = _ratio(hit, truth + guess - hit), _ratio(hit, truth)
        there = truth > 0
        total = float(truth.sum())
        return {
            "pixel_acc": float(_ratio(hit.sum(), total)),
            "mean_acc": _mean(acc[there]),
            "mean_iu": _mean(iu[~np.isnan(iu)]),
            "fw_iu": float(_ratio((truth[there] * iu[there]).sum(), total)),
            "iu": iu.tolist(),
        }

    def _numbers(self, what: str, values: np.ndarray) -> np.ndarray:
        wrong = values[~((values >= 0) & (values < self.classes) & (values == np.rint(values)))]
        if wrong.size:
            raise SpecError(f"{what} {wrong[0]:g} at {wrong.size} pixels is no class, 0..{self.classes - 1} are")
        return values.astype(np.int64)


def _ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, nan where whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "a single value"
