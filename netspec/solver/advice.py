"""Warnings in words, before and as it happens: a net that will learn nothing, or whose loss leaves all bounds.

1. A layer of all-zero weights that reads nothing but zeros: its gradient is zero, and so is that of all below it.
   (All-zero weights above a layer that gives other values, as of a score layer, learn well.)
2. A frozen layer of all-zero weights between learned layers and the loss: no gradient passes it.
3. An unnormalised loss over an image with a rate meant for a mean, and the reverse.
4. A data set whose number of classes is not that of the scores.
5. Fields of the solver that have no effect beside the others.
6. A net without a loss, or with nothing below it that moves.
7. A loss that is nan or infinite, or 87.3365 = -log(FLT_MIN): probability 0 for the label everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from netspec import schema
from netspec.ir.graph import Blob, LayerSpec, ancestors
from netspec.layers.base import DataLayer
from netspec.net import Net
from netspec.solver import policies
from netspec.solver.log import logger
from netspec.solver.rules import RULES
from netspec.spec.text import Document
from netspec.step import Step

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")
KEEP_ZERO = {"ReLU", "Pooling", "Dropout", "LRN", "Concat", "Eltwise", "Crop", "Split", "Flatten", "Reshape", "Slice"}
"""Layers that make zeros of zeros."""
SATURATED = 87.3365
HIGH, LOW = 1e-6, 1e-8


class Advice:
    """`before` the first iteration, and with every `loss`; each warning once."""

    def __init__(self, document: Document, net: Net) -> None:
        self.document, self.param, self.net = document, document.message, net
        self.given: set[str] = set()

    def before(self) -> None:
        """What can be seen before training."""
        if "before" in self.given:
            return
        self.given.add("before")
        for warning in (
            *without_loss(self.net),
            *dead_layers(self.net),
            *rates(self.param, self.net),
            *classes(self.net),
            *idle(self.document),
        ):
            logger.warning("%s", warning)

    def loss(self, iteration: int, loss: float, values: Mapping[Blob, Tensor]) -> None:
        """What a loss shows."""
        if not math.isfinite(loss):
            self._once(
                "nan",
                f"the loss is {loss} at iteration {iteration}: training has diverged. Go back to a snapshot from "
                f"before, lower base_lr ({self.param.base_lr:g}) by a factor of 10, or give clip_gradients",
            )
        elif any(saturated(self.net, b, values[b]) for b in self.net.losses):
            self._once(
                "saturated",
                f"the loss is 87.3365 = -log(FLT_MIN) at iteration {iteration}: the net gives every label "
                f"probability 0 and has diverged. Lower base_lr ({self.param.base_lr:g}), or see that inputs are small "
                "enough",
            )

    def _once(self, key: str, warning: str) -> None:
        if key not in self.given:
            self.given.add(key)
            logger.warning("%s", warning)


def saturated(net: Net, blob: Blob, value: Tensor) -> bool:
    """Whether a loss, per place if it is a sum over places, is 87.3365."""
    writer = net.graph.writers()[blob]
    if writer.type != "SoftmaxWithLoss":
        return False
    worst = float(value.sum()) / (places(net, writer) if unnormalised(writer) else 1)
    return abs(worst - SATURATED) < 1e-3


def without_loss(net: Net) -> list[str]:
    """Rule 6."""
    below = ancestors(net.graph, net.losses)
    if any(p.lr_mult and p.layer in below for p in net.table):
        return []
    what = "nothing that moves below its loss" if net.losses else "no loss"
    return [f"{net.graph.file}: the net has {what}: it will learn nothing"]


def dead_layers(net: Net) -> list[str]:
    """Rules 1 and 2, in the order of layers."""
    zero: set[Blob] = set()
    stuck, blocked = [], []
    learning: set[Blob] = set()
    below = ancestors(net.graph, net.losses)
    for number, step in enumerate(net.steps):
        spec, learned = step.spec, learns(net, number)
        reads_zero = bool(spec.bottoms) and all(b in zero for b in spec.bottoms)
        if spec.type in WEIGHTED:
            empty = not bool(step.params()[0].any())
            if empty and learned and reads_zero:
                stuck.append(spec)
            if empty and not learned and any(b in learning for b in spec.bottoms) and number in below:
                blocked.append(spec)
            if (empty or reads_zero) and not any(bool(p.any()) for p in step.params()[1:]):
                zero.update(spec.tops)
        elif reads_zero and spec.type in KEEP_ZERO:
            zero.update(spec.tops)
        if learned or any(b in learning for b in spec.bottoms):
            learning.update(spec.tops)
    return dead_words(stuck, blocked)


def dead_words(stuck: list[LayerSpec], blocked: list[LayerSpec]) -> list[str]:
    words = []
    if stuck:
        names = ", ".join(f"'{s.name}'" for s in stuck[:3]) + (f" and {len(stuck) - 3} more" if len(stuck) > 3 else "")
        words.append(
            f"{stuck[0].loc()}: layers {names} have all-zero weights and read only zeros: they will learn nothing, nor "
            "will those below. Give a weights file, or weight_fillers"
        )
    if blocked:
        names = ", ".join(f"'{s.name}'" for s in blocked)
        words.append(
            f"{blocked[0].loc()}: frozen layers {names} have all-zero weights: what is below them will learn nothing. "
            "Give a weights file or a weight_filler (bilinear for upsampling)"
        )
    return words


def learns(net: Net, number: int) -> bool:
    """Whether the layer's weights, its first blob, move."""
    return any(p.lr_mult != 0 for p in net.table if p.layer == number and p.index == 0)


def rates(param: Any, net: Net) -> list[str]:
    """Rule 3, for losses over images that have no loss_weight of their own."""
    words = []
    for step in image_losses(net):
        if step.spec.proto.loss_weight:
            continue
        pixels, rate = places(net, step.spec), param.base_lr
        if unnormalised(step.spec) and rate > HIGH and rate * pixels > 0.1:
            words.append(
                f"{step.spec.loc()}: the loss '{step.spec.name}' is a sum over {pixels} pixels; base_lr {rate:g} will "
                f"diverge. Either base_lr near 1e-10 with momentum 0.99, or base_lr as it is and "
                f"loss_weight: {1 / pixels:.1g} in that layer"
            )
        if not unnormalised(step.spec) and 0 < rate < LOW:
            words.append(
                f"{step.spec.loc()}: the loss '{step.spec.name}' is a mean over pixels; base_lr {rate:g} will learn "
                "next to nothing. Either base_lr near 1e-4, or loss_param { normalize: false } in that layer"
            )
    return words


def image_losses(net: Net) -> list[Step]:
    """SoftmaxWithLoss layers whose scores have places."""
    found = [s for s in net.steps if s.spec.type == "SoftmaxWithLoss"]
    return [s for s in found if places(net, s.spec) > 1]


def places(net: Net, spec: LayerSpec) -> int:
    """Labels per item of the batch."""
    shape = net.blob_shapes[spec.bottoms[1]]
    return math.prod(shape[1:])


def unnormalised(spec: LayerSpec) -> bool:
    """Whether a loss is a sum over places: normalization NONE or BATCH_SIZE, or normalize: false."""
    given = spec.proto.loss_param
    if given.HasField("normalization"):
        return schema.enum_name(given, "normalization") in ("NONE", "BATCH_SIZE")
    return given.HasField("normalize") and not given.normalize


def idle(document: Document) -> list[str]:
    """Rule 5, a warning for each field at its place."""
    param, rule = document.message, RULES[document.message.type]
    found = {field: f"lr_policy '{param.lr_policy}'" for field in policies.idle(param)}
    found |= {f: f"type '{param.type}'" for f in ("momentum2", "rms_decay", "delta") if f not in rule.reads}
    if not param.weight_decay:
        found["regularization_type"] = "weight_decay 0"
    if not param.test_iter:
        found |= {field: "no test_iter" for field in ("test_interval", "test_compute_loss")}
    if not (param.display or param.test_iter):
        found["debug_info"] = "display 0"
    return [
        f"{document.place.of(field)}: {field} has no effect with {other}"
        for field, other in found.items()
        if policies.is_given(param, field)
    ]


def classes(net: Net) -> list[str]:
    """Rule 4, where a data layer knows the classes of its labels."""
    known: dict[Blob, int] = {}
    for spec, layer in net.bound:
        dataset = getattr(layer.source(), "dataset", None) if isinstance(layer, DataLayer) else None
        counts = getattr(dataset, "classes", {})
        known.update({top: counts[top.name] for top in spec.tops if top.name in counts})
    words = []
    for step in image_losses(net):
        scores, wanted = net.blob_shapes[step.spec.bottoms[0]], known.get(step.spec.bottoms[1])
        if wanted is not None and scores[1] != wanted:
            words.append(
                f"{step.spec.loc()}: '{step.spec.bottoms[0]}' scores {scores[1]} classes, but the labels "
                f"'{step.spec.bottoms[1]}' have {wanted}"
            )
    return words
