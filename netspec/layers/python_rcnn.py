"""The Python layers of Faster R-CNN and R-FCN, by the names of their modules and classes; no code of theirs runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import LayerError
from netspec.ir.words import counted
from netspec.layers.base import Context, DataLayer, Shape
from netspec.layers.boxes import array
from netspec.layers.proposals import (
    REGIONS,
    SCALES,
    TARGET_STDS,
    TOP,
    anchor_labels,
    anchors,
    grid,
    moves_to,
    propose,
    sample_regions,
)
from netspec.layers.python import Python, python_layers
from netspec.lazytorch import torch

LINE = re.compile(r"\s*['\"]?(\w+)['\"]?\s*:\s*(.+?)\s*")


def read_settings(text: str) -> dict[str, Any]:
    """A param_str: a Python dictionary with or without its braces, or lines of `name: value`."""
    text = text.replace("!!python/tuple", "").strip().rstrip(",")
    try:
        return dict(ast.literal_eval(text if text.startswith("{") else f"{{{text}}}"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    found = {}
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        if match is None:
            raise LayerError(f"'{line.strip()}' is not name: value", field="python_param.param_str")
        found[match[1]] = literal(match[2])
    return found


def literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


class RCNN(Python, abstract=True):
    """What the family's layers share: settings from param_str, numbers of bottoms and tops, no gradient."""

    wants: tuple[int, int] = (0, 0)
    """Least numbers of bottoms and tops."""

    def setup(self) -> None:
        self.settings_given = read_settings(self.p.param_str)
        for word, given, least in zip(("bottom", "top"), (self.proto.bottom, self.proto.top), self.wants, strict=True):
            if len(given) < least:
                raise LayerError(f"has {len(given)} {word}s and takes {least} at least", field=word)

    def number(self, name: str, default: int | None = None) -> int:
        """A setting that is a whole number above 0."""
        value = self.settings_given.get(name, default)
        if not isinstance(value, int) or value < 1:
            raise self.fail(f"param_str: {name} {value!r} must be a whole number above 0", "param_str")
        return value

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        value = self.settings_given.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, (int, float)) and v > 0 for v in value):
            raise self.fail(f"param_str: {name} {value!r} must be numbers above 0", "param_str")
        return tuple(float(v) for v in value)

    def anchors(self) -> np.ndarray:
        ratios = self.numbers("ratios", (0.5, 1.0, 2.0))
        return anchors(self.numbers("scales", SCALES), ratios)

    def gradient_to(self, bottom: int) -> bool:
        return False

    def tensors(self, arrays: Sequence[np.ndarray], like: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(a)).to(like.device, like.dtype) for a in arrays]


class Proposal(RCNN, abstract=True):
    """rpn.proposal_layer.ProposalLayer: rows (0, x1, y1, x2, y2) of the boxes most likely to hold an object.

    The anchors of every cell are moved as predicted and cut at the image; those less than 16 pixels (of the original
    image) wide or high go; of the best 12000 (TEST 6000), those that overlap a better one by more than 0.7 go; the best
    2000 (300) stay.
    Settings: feat_stride; scales (8, 16, 32); ratios (0.5, 1, 2).
    Shapes: background and object scores 1 x 2A x H x W, moves 1 x 4A x H x W, image height, width, scale 1 x 3 ->
        R x 5, and on demand their scores R x 1 x 1 x 1; R depends on the data, 1 stands for it.
    Errors: several images; other numbers of channels.
    Source: Faster R-CNN (Ren et al. 2015).
    """

    wants = (3, 1)

    def setup(self) -> None:
        super().setup()
        self.stride = self.number("feat_stride")
        self.boxes = self.anchors()

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_maps(self, bottoms[0], 2 * len(self.boxes), 0)
        check_maps(self, bottoms[1], 4 * len(self.boxes), 1)
        check_info(self, bottoms[2], 2)
        return [(1, 5), (1, 1, 1, 1)][: len(self.proto.top)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores, moves, info = (array(b) for b in bottoms[:3])
        count, size = len(self.boxes), scores.shape[2:]
        boxes = grid(self.boxes, size[0], size[1], self.stride).reshape(-1, 4)
        chance = scores[0, count:].transpose(1, 2, 0).ravel()
        predicted = moves[0].transpose(1, 2, 0).reshape(-1, 4)
        found, kept = propose(chance, predicted, boxes, info.reshape(-1)[:3], TOP[self.phase])
        rows = np.concatenate([np.zeros((len(found), 1)), found], 1)
        return self.tensors([rows, kept.reshape(-1, 1, 1, 1)][: len(self.proto.top)], bottoms[0])


class AnchorTarget(RCNN, abstract=True):
    """rpn.anchor_target_layer.AnchorTargetLayer: what an RPN should say of every anchor.

    Of the anchors within the image, at most 128 are objects and the rest of 256 background, drawn at random; all others
    are labelled −1. Targets are the moves to the true box overlapped most; inside weights are 1 for objects, outside
    weights 1 / (number of labelled anchors) for labelled ones.
    Settings: feat_stride; scales (8, 16, 32); ratios (0.5, 1, 2); allowed_border 0.
    Shapes: scores 1 x 2A x H x W (for their size), true boxes K x 5, image height, width, scale 1 x 3, further bottoms
        unread -> labels 1 x 1 x AH x W; targets, inside weights, outside weights 1 x 4A x H x W.
    Errors: several images; bottoms of another form.
    Source: Faster R-CNN (Ren et al. 2015).
    """

    wants = (3, 4)

    def setup(self) -> None:
        super().setup()
        self.stride = self.number("feat_stride")
        self.boxes = self.anchors()
        self.border = self.settings_given.get("allowed_border", 0)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_maps(self, bottoms[0], None, 0)
        check_truth(self, bottoms[1], 1)
        check_info(self, bottoms[2], 2)
        height, width = bottoms[0][2:]
        count = len(self.boxes)
        return [(1, 1, count * height, width), *[(1, 4 * count, height, width)] * 3]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        truth, info = array(bottoms[1]).reshape(-1, 5), array(bottoms[2]).reshape(-1)
        size = bottoms[0].shape[2:]
        boxes = grid(self.boxes, size[0], size[1], self.stride).reshape(-1, 4)
        limit = info[[1, 0]] + self.border
        inside = np.flatnonzero((boxes[:, :2] >= -self.border).all(1) & (boxes[:, 2:] < limit).all(1))
        label = np.full(len(boxes), -1.0)
        targets, inner, outer = (np.zeros((len(boxes), 4)) for _ in range(3))
        own, nearest = anchor_labels(boxes[inside], truth[:, :4])
        label[inside] = own
        if len(truth):
            targets[inside] = moves_to(boxes[inside], truth[nearest, :4])
        inner[label == 1] = 1
        outer[label >= 0] = 1 / max(1, int((label >= 0).sum()))
        maps = [a.reshape(*size, -1).transpose(2, 0, 1)[None] for a in (targets, inner, outer)]
        labels = label.reshape(*size, -1).transpose(2, 0, 1).reshape(1, 1, -1, size[1])
        return self.tensors([labels, *maps], bottoms[0])


class ProposalTarget(RCNN, abstract=True):
    """rpn.proposal_target_layer.ProposalTargetLayer: a sample of proposals with their classes and targets.

    Proposals and true boxes: a quarter of 128 at most are objects (overlap of 0.5 or more), the others background,
    drawn at random. Targets are the moves to the true box overlapped most over (0.1, 0.1, 0.2, 0.2), in the four places
    of the class, or of the last class where there are fewer (class-agnostic nets have 2); weights are 1 there.
    Settings: num_classes; batch_size 128, −1 for all.
    Shapes: proposals R x 5, true boxes K x 5 -> regions S x 5 x 1 x 1, labels S x 1 x 1 x 1; targets, inside weights,
        outside weights S x 4 · num_classes x 1 x 1; S depends on the data, 1 stands for it.
    Errors: bottoms of another form; a proposal of a second image.
    Source: Faster R-CNN (Ren et al. 2015); settings of its end-to-end training.
    """

    wants = (2, 5)

    def setup(self) -> None:
        super().setup()
        self.classes = self.number("num_classes")
        self.most = self.settings_given.get("batch_size", REGIONS)
        if not isinstance(self.most, int) or self.most == 0:
            raise self.fail(f"param_str: batch_size {self.most!r} must be a whole number other than 0", "param_str")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_truth(self, bottoms[0], 0)
        check_truth(self, bottoms[1], 1)
        return [(1, 5, 1, 1), (1, 1, 1, 1), *[(1, 4 * self.classes, 1, 1)] * 3]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rows, truth = (array(b).reshape(-1, 5) for b in bottoms[:2])
        if rows[:, 0].any():
            raise self.fail("a proposal is of a second image; batches are of one")
        boxes = np.concatenate([rows[:, 1:], truth[:, :4]])
        chosen, label, nearest = sample_regions(boxes, truth, self.most)
        regions = np.concatenate([np.zeros((len(chosen), 1)), boxes[chosen]], 1)
        targets, weights = (np.zeros((len(chosen), self.classes, 4)) for _ in range(2))
        objects = np.flatnonzero(label > 0)
        if len(objects):
            slots = label[objects].clip(max=self.classes - 1)
            targets[objects, slots] = moves_to(boxes[chosen[objects]], truth[nearest[objects], :4]) / TARGET_STDS
            weights[objects, slots] = 1
        flat = [a.reshape(len(chosen), -1) for a in (regions, label[:, None], targets, weights, weights)]
        return self.tensors([a[:, :, None, None] for a in flat], bottoms[0])


class RoIData(RCNN, DataLayer, abstract=True):
    """roi_data_layer.layer.RoIDataLayer: images and true boxes that a caller brings.

    Its own data sets are not read. `feed(data=..., im_info=..., gt_boxes=...)` gives one batch, which stays until the
    next; or an Input layer of the same tops takes its place. With the sample data, a batch of noise.
    Shapes: nothing -> 3 tops: data 1 x 3 x 600 x 1000, im_info 1 x 3 (height, width, scale), gt_boxes K x 5 (x1, y1,
        x2, y2, class); else data, rois 1 x 5, labels 1, and bbox_targets, bbox_inside_weights, bbox_outside_weights of
        4 · num_classes, or data and rois. They are those of the last batch once there is one.
    Errors: other tops; no batch when one is asked for; arrays of other names.
    Source: Fast and Faster R-CNN (Girshick 2015, Ren et al. 2015).
    """

    wants = (0, 2)
    is_data = True

    def setup(self) -> None:
        super().setup()
        if self.proto.bottom:
            raise LayerError(f"has {counted(len(self.proto.bottom), 'bottom')} and takes none", field="bottom")
        self.batch: dict[str, np.ndarray] = {}
        declared = self.declared()
        if len(declared) != len(self.proto.top):
            raise LayerError(f"has {counted(len(self.proto.top), 'top')} and takes 2, 3, 5 or 6", field="top")

    def declared(self) -> list[Shape]:
        """The tops' shapes before there is a batch."""
        image, tops = (1, 3, 600, 1000), len(self.proto.top)
        if tops == 3:
            return [image, (1, 3), (1, 5)]
        wide = (1, 4 * self.number("num_classes", 21))
        return [image, (1, 5), (1,), wide, wide, wide][:tops] if tops in (2, 5, 6) else []

    def feed(self, **arrays: Any) -> None:
        """One batch, by the names of the tops."""
        for name in self.proto.top:
            if name not in arrays:
                raise self.fail(f"a batch wants {', '.join(self.proto.top)}; '{name}' is missing")
        self.batch = {name: np.asarray(arrays[name], np.float32) for name in self.proto.top}

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if self.batch:
            return [a.shape for a in self.batch.values()]
        return self.declared()

    def open(self) -> Fed:
        return Fed(self)


class Fed:
    """The source of a RoIData layer."""

    def __init__(self, layer: RoIData) -> None:
        self.layer = layer

    def next(self) -> list[np.ndarray]:
        layer = self.layer
        if not layer.batch and layer.context.sample:
            layer.feed(**sample(list(layer.proto.top), layer.declared()))
        if not layer.batch:
            names = ", ".join(f"{top}=..." for top in layer.proto.top)
            raise layer.fail(
                f"reads no data set: give it a batch with feed({names}), or put an Input layer in its place", "layer"
            )
        return list(layer.batch.values())

    def peek_shapes(self) -> list[Shape]:
        return self.layer.shapes([])

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def sample(tops: Sequence[str], shapes: Sequence[Shape]) -> dict[str, np.ndarray]:
    """A batch of seeded noise with one box."""
    draw = np.random.default_rng(0)
    height, width = shapes[0][2:]
    box = [width * 0.2, height * 0.2, width * 0.7, height * 0.6]
    values = [draw.normal(0, 50, shapes[0])]
    if len(tops) == 3:
        values += [np.array([[height, width, 1]]), np.array([[*box, 1]])]
    else:
        values += [np.array([[0, *box]]), *(np.zeros(shape) for shape in shapes[2:])]
    return dict(zip(tops, values, strict=True))


def check_maps(layer: RCNN, shape: Shape, channels: int | None, index: int) -> None:
    if len(shape) != 4 or shape[0] != 1:
        raise layer.fail(f"bottom {index} {list(shape)} must be maps of one image")
    if channels is not None and shape[1] != channels:
        raise layer.fail(f"bottom {index} {list(shape)} must have {channels} channels for its anchors", "param_str")


def check_info(layer: RCNN, shape: Shape, index: int) -> None:
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 3:
        raise layer.fail(f"bottom {index} {list(shape)} must be 1 x 3: the image's height, width and scale")


def check_truth(layer: RCNN, shape: Shape, index: int) -> None:
    if len(shape) < 2 or shape[1] != 5 or any(n != 1 for n in shape[2:]):
        raise layer.fail(f"bottom {index} {list(shape)} must hold rows of five")


KNOWN: dict[tuple[str, str], type[Python]] = {
    ("rpn.proposal_layer", "ProposalLayer"): Proposal,
    ("rpn.anchor_target_layer", "AnchorTargetLayer"): AnchorTarget,
    ("rpn.proposal_target_layer", "ProposalTargetLayer"): ProposalTarget,
    ("roi_data_layer.layer", "RoIDataLayer"): RoIData,
}


def rcnn_layer(proto: Any, context: Context) -> type[Python] | None:
    """The class that stands for one of the family's layers."""
    return KNOWN.get((proto.python_param.module, proto.python_param.layer))


python_layers.append(rcnn_layer)
