"""DetectionEvaluate: which detections are right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec import schema
from netspec.errors import LayerError, SpecError
from netspec.layers.base import Layer, Shape
from netspec.layers.boxes import array, descending, overlaps
from netspec.layers.detection_output import COLUMNS
from netspec.layers.priors import Truth, check_truth, read_truth
from netspec.layers.stored import find_file
from netspec.lazytorch import torch


class DetectionEvaluate(Layer):
    """Rows (−1, class, number of true boxes, −1, −1), then rows (image, label, confidence, right, wrong).

    The first are one per class but the background, the others one per detection, by image, label and confidence.
    A detection is right when the true box of its image and class that it overlaps most is overlapped by
    overlap_threshold at least and belongs to no better detection; else it is wrong. One on a difficult true box is
    neither, unless evaluate_difficult_gt. With name_size_file (lines `name height width`, an image each, taken in turn)
    boxes are compared in whole pixels.
    Shapes: detections 1 x 1 x rows x 7, true boxes 1 x 1 x boxes x 8 -> 1 x 1 x (classes + rows) x 5.
    Errors: num_classes missing; overlap_threshold not above 0; bottoms of another form; name_size_file that is missing
        or not of that form, or with a resize_param that does not stretch the whole image (WARP).
    Source: SSD's DetectionEvaluate (Liu et al. 2016). No gradient.
    """

    settings = "detection_evaluate_param"
    bottoms = (2, 2)
    refuses = True

    def setup(self) -> None:
        p = self.p
        if not p.num_classes:
            raise self.fail("num_classes is missing or 0", "num_classes")
        if p.overlap_threshold <= 0:
            raise self.fail(f"overlap_threshold {p.overlap_threshold:g} must be above 0", "overlap_threshold")
        if p.name_size_file and schema.enum_name(p.resize_param, "resize_mode") != "WARP":
            raise self.fail("only WARP is supported for boxes in pixels", "resize_param.resize_mode")
        self.rows = p.num_classes - (0 <= p.background_label_id < p.num_classes)
        self.sizes: list[tuple[int, int]] | None = None
        self.at = 0

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        found = bottoms[0]
        if len(found) != 4 or found[:2] != (1, 1) or found[3] != COLUMNS:
            raise self.fail(f"bottom 0 {list(found)} must hold detections: 1 x 1 x rows x {COLUMNS}")
        check_truth(self, 1, bottoms[1])
        return [(1, 1, self.rows + found[2], 5)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        truth = read_truth(bottoms[1], self.p.background_label_id)
        found = array(bottoms[0]).reshape(-1, COLUMNS)
        found = found[found[:, 0] != -1]
        if (found[:, 1].astype(np.int64) == self.p.background_label_id).any():
            raise self.fail(
                f"a detection has the background's label {self.p.background_label_id}", "background_label_id"
            )
        out = np.zeros(self.shapes([tuple(b.shape) for b in bottoms])[0][2:], found.dtype)
        classes = (c for c in range(self.p.num_classes) if c != self.p.background_label_id)
        rows = [[-1, c, self.number(truth, c), -1, -1] for c in classes]
        for image in np.unique(found[:, 0].astype(np.int64)):
            own = found[found[:, 0].astype(np.int64) == image]
            rows += self.image_rows(int(image), own, truth.get(int(image)), self.next_size())
        out[: len(rows)] = rows
        return [torch.from_numpy(out[None, None]).to(bottoms[0].device)]

    def number(self, truth: dict[int, Truth], label: int) -> int:
        """How many true boxes of a class count."""
        return sum(
            int(((t.labels == label) & (self.p.evaluate_difficult_gt | ~t.difficult)).sum()) for t in truth.values()
        )

    def image_rows(
        self, image: int, found: np.ndarray, truth: Truth | None, size: tuple[int, int] | None
    ) -> list[list[float]]:
        """One image's rows."""
        rows = []
        for label in np.unique(found[:, 1].astype(np.int64)):
            own = found[found[:, 1].astype(np.int64) == label]
            which = np.flatnonzero(truth.labels == label) if truth is not None else np.empty(0, np.int64)
            own = own[descending(own[:, 2])] if len(which) else own
            shared = None
            if truth is not None and len(which):
                scale = 1.0 if size is None else np.array([size[1], size[0]] * 2, found.dtype)
                pixel = 0.0 if size is None or max(size) <= 1 else 1.0
                shared = overlaps(own[:, 3:] * scale, truth.boxes[which] * scale, pixel)
            right = self.judge(shared, truth.difficult[which] if truth is not None else which, len(own))
            rows += [[image, label, row[2], *marks] for row, marks in zip(own, right, strict=True)]
        return rows

    def judge(self, shared: np.ndarray | None, difficult: np.ndarray, detections: int) -> list[tuple[int, int]]:
        """(right, wrong) per detection, best first; `shared` holds their overlaps with the true boxes."""
        if shared is None:
            return [(0, 1)] * detections
        taken: set[int] = set()
        marks = []
        for row in shared:
            best = int(row.argmax())
            if row[best] < self.p.overlap_threshold:
                marks.append((0, 1))
            elif difficult[best] and not self.p.evaluate_difficult_gt:
                marks.append((0, 0))
            else:
                marks.append((0, 1) if best in taken else (1, 0))
                taken.add(best)
        return marks

    def next_size(self) -> tuple[int, int] | None:
        """Height and width of the next image in the file, which starts again after its last."""
        if not self.p.name_size_file:
            return None
        if self.sizes is None:
            self.sizes = self.read_sizes(find_file(self.p.name_size_file, self.context))
        size = self.sizes[self.at % len(self.sizes)]
        self.at += 1
        return size

    def memory(self) -> Any:
        """The line of the file that is next."""
        return self.at

    def recall(self, memory: Any) -> None:
        if type(memory) is not int or memory < 0:
            raise SpecError(f"the saved place in the file of sizes is none: {str(memory)[:80]}")
        self.at = memory

    def read_sizes(self, path: Path) -> list[tuple[int, int]]:
        words = path.read_text(encoding="utf-8", errors="replace").split()
        try:
            sizes = [(int(h), int(w)) for h, w in zip(words[1::3], words[2::3], strict=True)]
        except ValueError:
            raise LayerError(
                f"{path} does not hold lines of name, height, width", field="detection_evaluate_param.name_size_file"
            ) from None
        if not sizes:
            raise SpecError(f"{path} is empty")
        return sizes

    def gradient_to(self, bottom: int) -> bool:
        return False
