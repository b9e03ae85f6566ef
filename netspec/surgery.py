"""Net surgery: the weights of one net made those of another.

1. Blobs go by layer name, a suffix added; a layer that the new net lacks is dropped.
2. As many values in another shape are coerced in the order of memory: a fully connected layer over C x H x W is the
   convolution of kernel H x W. Other shapes are refused, all at once.
3. `expand`: a layer with more outputs takes the old ones first and keeps its own values for the rest.
4. `channel_mean`: a layer with more input channels takes the old ones first, and their mean for each further one.
5. `interpolate`: bilinear kernels, from channel i to channel i only.
6. What nothing is copied to keeps what its filler gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch

from netspec.errors import SpecError, suggestion
from netspec.net import Net
from netspec.solver.interpolation import kernel
from netspec.weights.model import Model
from netspec.weights.report import cause

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """What happened to one layer: copied, coerced, expanded, averaged, interpolated, dropped or left."""

    kind: str
    layer: str
    note: str = ""


@dataclass(frozen=True)
class Wishes:
    """How layers are found and fitted. `expand` and `channel_mean` are new name -> old name; `leave` are patterns."""

    suffix: str = ""
    expand: Mapping[str, str] | None = None
    channel_mean: Mapping[str, str] | None = None
    leave: Sequence[str] = ()


@torch.no_grad()
def transplant(new: Net, old: Model, wishes: Wishes | None = None) -> list[Change]:
    """Copies what fits into the new net; the changes in the old net's order. Errors: all blobs that do not fit."""
    wishes = wishes or Wishes()
    targets = {step.spec.name: step.params() for step in new.steps if step.blobs}
    stored = {name: [b for b in blobs if b is not None] for name, blobs in old.blobs().items()}
    special = {**(wishes.expand or {}), **(wishes.channel_mean or {})}
    check_names(special, targets, stored)
    moves = [(name, name + wishes.suffix) for name in stored if name + wishes.suffix not in special]
    moves += [(source, target) for target, source in special.items()]
    changes, misfits, values = [], [], []
    for source, target in moves:
        if target not in targets:
            if source not in special.values():
                changes.append(Change("dropped", source))
            continue
        if any(fnmatchcase(target, pattern) for pattern in wishes.leave):
            continue
        try:
            made, change = moved(source, target, stored[source], targets[target], wishes)
        except SpecError as e:
            misfits.append(e.message)
            continue
        values += made
        changes.append(change)
    if misfits:
        raise SpecError(f"{len(misfits)} layers do not fit: {'; '.join(misfits)}")
    for blob, value in values:
        blob.copy_(torch.from_numpy(np.array(value, np.float32)))
    return changes


def moved(
    source: str, target: str, old: Sequence[np.ndarray], new: Sequence[torch.Tensor], wishes: Wishes
) -> tuple[list[tuple[torch.Tensor, np.ndarray]], Change]:
    """One layer's new values, and what is told of it."""
    values, notes = [], []
    kind = "copied"
    for index, (value, blob) in enumerate(zip(old, new, strict=False)):
        shape = tuple(blob.shape)
        if value.shape == shape:
            fitted = value
        elif target in (wishes.expand or {}):
            fitted, kind = expanded(target, value, blob), "expanded"
        elif target in (wishes.channel_mean or {}):
            fitted, kind = averaged(target, value, shape), "averaged"
        elif value.size == blob.numel():
            fitted, kind = value.reshape(shape), "coerced"
        else:
            why = cause(value.shape, shape)
            raise SpecError(
                f"'{target}' blob {index}: {size(value.shape)} there, {size(shape)} here, {why}".rstrip(", ")
            )
        if fitted is not value:
            notes.append(f"{size(value.shape)} -> {size(shape)}")
        values.append((blob, fitted))
    if len(old) != len(new):
        notes.append(f"{len(old)} blobs there, {len(new)} here: those of both are copied")
    if source != target:
        notes.insert(0, f"from {source}")
    return values, Change(kind, target, "; ".join(notes))


def expanded(name: str, old: np.ndarray, new: torch.Tensor) -> np.ndarray:
    """Rule 3."""
    shape = tuple(new.shape)
    if old.ndim != len(shape) or old.shape[1:] != shape[1:] or old.shape[0] > shape[0]:
        raise SpecError(f"'{name}': {size(old.shape)} cannot be expanded to {size(shape)}: only outputs can be added")
    made = np.array(new.detach().cpu().numpy(), np.float32)
    made[: len(old)] = old
    return made


def averaged(name: str, old: np.ndarray, shape: Shape) -> np.ndarray:
    """Rule 4."""
    if old.ndim < 2 or old.ndim != len(shape) or old.shape[0] != shape[0] or old.shape[2:] != shape[2:]:
        raise SpecError(f"'{name}': {size(old.shape)} cannot become {size(shape)}: only input channels can be added")
    more = shape[1] - old.shape[1]
    if more < 0:
        raise SpecError(f"'{name}': {old.shape[1]} input channels there, {shape[1]} here: none can be taken away")
    return np.concatenate([old, *[old.mean(1, keepdims=True)] * more], 1)


@torch.no_grad()
def interpolate(new: Net, patterns: Sequence[str]) -> list[Change]:
    """Rule 5, for the layers whose names match; a pattern that no layer of weights matches is an error."""
    changes = []
    for pattern in patterns:
        found = [s for s in new.steps if fnmatchcase(s.spec.name, pattern) and s.spec.type == "Deconvolution"]
        if not found:
            raise SpecError(f"no Deconvolution layer is called '{pattern}'")
        for step in found:
            weight = step.params()[0]
            inputs, outputs, height, width = weight.shape
            if height != width or outputs not in (1, inputs):
                raise SpecError(f"layer '{step.spec.name}': {size(tuple(weight.shape))} is no kernel per channel")
            weight.zero_()
            rows = range(inputs)
            weight[rows, [r % outputs for r in rows]] = torch.from_numpy(kernel(height)).to(weight)
            changes.append(Change("interpolated", step.spec.name, f"bilinear, {height} x {width}"))
    return changes


def left(new: Net, changes: Sequence[Change]) -> list[Change]:
    """The layers of the new net that keep their fillers' values."""
    touched = {c.layer for c in changes if c.kind != "dropped"}
    return [Change("left", s.spec.name) for s in new.steps if s.blobs and s.spec.name not in touched]


def check_names(special: Mapping[str, str], new: Mapping[str, object], old: Mapping[str, object]) -> None:
    """Refuses names that no layer with weights has."""
    for target, source in special.items():
        for name, known, which in ((target, new, "new"), (source, old, "old")):
            if name not in known:
                raise SpecError(f"the {which} net has no layer '{name}' with weights{suggestion(name, known)}")


def size(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one value"
