"""scale_fusion: which BatchNorm runs as one operation with the Scale behind it.

1. The Scale has one bottom, the BatchNorm's top, which nothing else reads, and a learned factor and bias per channel.
2. The BatchNorm has no factor and bias of its own.
3. Both stay in the graph; a run that wants the value between them keeps them apart. Results differ by rounding alone.
"""

from __future__ import annotations

from netspec.layers import Layer
from netspec.passes.bind import Bound


def scale_fusion(bound: Bound) -> dict[int, int]:
    """`{position of a BatchNorm: position of its Scale}`."""
    readers = bound.graph.readers()
    position = {spec.tops[0]: n for n, (spec, _) in enumerate(bound) if spec.tops}
    pairs = {}
    for n, (spec, layer) in enumerate(bound):
        if spec.type == "Scale" and per_channel(layer) and len(spec.bottoms) == 1:
            norm = position.get(spec.bottoms[0])
            if norm is not None and is_plain_norm(bound.layers[norm]) and len(readers[spec.bottoms[0]]) == 1:
                pairs[norm] = n
    return pairs


def per_channel(layer: Layer) -> bool:
    """Whether a Scale has one factor and one bias for each channel."""
    return layer.p.axis == 1 and layer.p.num_axes == 1 and layer.p.bias_term


def is_plain_norm(layer: Layer) -> bool:
    """Whether a layer is a BatchNorm that only normalises."""
    return layer.type == "BatchNorm" and not getattr(layer, "affine", False)
