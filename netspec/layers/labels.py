"""Class labels: how the layers that compare scores with labels read them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.errors import SpecError
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


def label_axis(layer: Layer, axis: int, bottoms: Sequence[Shape], field: str = "axis") -> int:
    """The axis of the classes; refuses labels that are not one per place of the scores."""
    scores, labels = bottoms[0], bottoms[1]
    found = canonical_axis(layer, axis, scores, field)
    places = prod(scores[:found]) * prod(scores[found + 1 :])
    if prod(labels) != places:
        raise layer.fail(
            f"bottom 1 {list(labels)} has {prod(labels)} labels for the {places} places of bottom 0 {list(scores)} "
            f"with classes along axis {found}"
        )
    return found


def read_labels(
    label: torch.Tensor, scores: torch.Tensor, axis: int, ignore: int | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Labels as indices along `axis` (of size 1 there), and which of them count: None is all.

    An ignored label stands as some index within the classes. A label outside them is an error, but while the net is
    traced or captured as a CUDA graph nothing can be read back, and it stands as the nearest class.
    """
    classes = scores.shape[axis]
    shape = [*scores.shape]
    shape[axis] = 1
    index = label.detach().reshape(shape).long()
    counted = None if ignore is None else index != ignore
    target = index.clamp(0, classes - 1)
    traced = torch.compiler.is_compiling() or (index.is_cuda and torch.cuda.is_current_stream_capturing())
    if not traced:
        outside = index != target if counted is None else (index != target) & counted
        if outside.any():
            value = index[outside][0].item()
            raise SpecError(f"label {value} is outside the {classes} classes 0 to {classes - 1}")
    return target, counted
