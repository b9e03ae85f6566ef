"""loss_weights: what each top counts in the net's loss, and in its gradient.

1. loss_weight as written, per top. A loss layer's first top weighs 1 when nothing is written.
2. The loss is the sum of weight times value over all tops that have one.
3. A weight that was not written does not enter the gradient of a top through which another loss propagates back.
"""

from __future__ import annotations

from dataclasses import dataclass

from netspec.ir.graph import Blob, LayerSpec, ancestors
from netspec.ir.words import counted
from netspec.layers import Layer
from netspec.passes.bind import Bound


@dataclass(frozen=True)
class LossWeight:
    """`value` counts in the loss, `gradient` in what is propagated back."""

    value: float
    gradient: float


def loss_weights(bound: Bound) -> dict[Blob, LossWeight]:
    """Only tops whose weight is not 0."""
    weighed = [
        (top, weight, bool(spec.proto.loss_weight))
        for spec, layer in bound
        for top, weight in zip(spec.tops, weights(spec, layer), strict=False)
        if weight
    ]
    under = ancestors(bound.graph, [top for top, _, _ in weighed])
    passed = {bottom for number in under for bottom in bound.graph.layers[number].bottoms}
    return {top: LossWeight(w, w if written or top not in passed else 0.0) for top, w, written in weighed}


def weights(spec: LayerSpec, layer: Layer) -> list[float]:
    """What is written, or the default, for as many tops as it says."""
    written = list(spec.proto.loss_weight)
    if written and len(written) != len(spec.tops):
        raise spec.error(
            f"loss_weight is given {len(written)} times for {counted(len(spec.tops), 'top')}", "loss_weight"
        )
    return written or ([1.0] if layer.loss else [])
