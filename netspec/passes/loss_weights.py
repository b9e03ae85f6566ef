"""loss_weights: what each top counts in the net's loss, and in its gradient.

1. loss_weight as written, per top. A loss layer's first top weighs 1 when nothing is written.
2. The loss is the sum of weight times value over all tops that have one.
3. A weight that was not written does not enter the gradient of a top that another layer reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from netspec.ir.graph import Blob
from netspec.passes.bind import Bound


@dataclass(frozen=True)
class LossWeight:
    """`value` counts in the loss, `gradient` in what is propagated back."""

    value: float
    gradient: float


def loss_weights(bound: Bound) -> dict[Blob, LossWeight]:
    """Only tops whose weight is not 0."""
    readers = bound.graph.readers()
    table: dict[Blob, LossWeight] = {}
    for spec, layer in bound:
        written = list(spec.proto.loss_weight)
        if written and len(written) != len(spec.proto.top):
            raise spec.error(f"loss_weight is given {len(written)} times for {len(spec.proto.top)} tops", "loss_weight")
        weights = written or ([1.0] if layer.loss else [])
        for top, weight in zip(spec.tops, weights, strict=False):
            if weight:
                counts = bool(written) or not readers[top]
                table[top] = LossWeight(weight, weight if counts else 0.0)
    return table
