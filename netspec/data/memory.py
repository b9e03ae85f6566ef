"""Arrays of the caller's as data: batches in turn, from the start again after the last."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.data.datum import text
from netspec.errors import SpecError


class Memory:
    """Batches of N x C x H x W from arrays that are given later; labels are N x 1 x 1 x 1."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._data: np.ndarray | None = None
        self._labels = np.empty(0, np.float32)
        self._at = 0

    def set(self, data: Any, labels: Any) -> None:
        """Takes the arrays, which are not copied, and starts at their first row; a place restored before stays."""
        data, labels = np.asarray(data, np.float32), np.asarray(labels, np.float32)
        if data.shape[1:] != self.shape[1:]:
            raise SpecError(f"the data are {text(data.shape) or 'one number'}, N x {text(self.shape[1:])} is wanted")
        if not len(data) or len(data) % self.shape[0]:
            raise SpecError(f"{len(data)} rows are no multiple of batch_size {self.shape[0]}")
        if labels.size != len(data):
            raise SpecError(f"{labels.size} labels for {len(data)} rows")
        if self._data is not None or self._at >= len(data):
            self._at = 0
        self._data, self._labels = data, labels.reshape(-1, 1, 1, 1)

    def next(self) -> list[np.ndarray]:
        if self._data is None:
            raise SpecError("has no data yet: set_input_arrays(data, labels) gives them")
        rows = slice(self._at, self._at + self.shape[0])
        self._at = rows.stop % len(self._data)
        return [self._data[rows].copy(), self._labels[rows].copy()]  # a layer in place must not reach the caller's

    def peek_shapes(self) -> list[tuple[int, ...]]:
        return [self.shape, (self.shape[0], 1, 1, 1)]

    def state(self) -> dict[str, Any]:
        return {"row": self._at}

    def restore(self, state: dict[str, Any]) -> None:
        row = state.get("row")
        if (
            type(row) is not int
            or row < 0
            or row % self.shape[0]
            or (self._data is not None and row >= len(self._data))
        ):
            raise SpecError(f"the saved row {row!r} of the data is none where a batch of {self.shape[0]} starts")
        self._at = row

    def close(self) -> None:
        self._data = None
