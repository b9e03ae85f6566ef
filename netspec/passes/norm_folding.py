"""norm_folding: which BatchNorm and Scale layers a frozen net computes with the convolution before them.

1. They work in place on the convolution's top, one after the other, and nothing else reads what lies between: no name
   stands for it.
2. The BatchNorm has stored statistics; the Scale has a learned factor per channel, and a bias or none.
3. weight' = factor · weight and bias' = factor · bias + shift, layer by layer. Results differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.ir.graph import Blob, LayerSpec
from netspec.passes.bind import Bound


def norm_folding(bound: Bound) -> dict[int, tuple[int, ...]]:
    """`{position of a Convolution: positions of the layers that can be folded into it, in turn}`."""
    readers, place = bound.graph.readers(), {id(spec): n for n, (spec, _) in enumerate(bound)}
    found = {
        n: tuple(followers(bound, readers, place, spec.tops[0]))
        for n, (spec, _) in enumerate(bound)
        if spec.type == "Convolution" and len(spec.tops) == 1
    }
    return {n: behind for n, behind in found.items() if behind}


def followers(
    bound: Bound, readers: Mapping[Blob, Sequence[LayerSpec]], place: Mapping[int, int], top: Blob
) -> list[int]:
    found: list[int] = []
    while len(readers[top]) == 1:
        spec = readers[top][0]
        if spec.bottoms != (top,) or spec.tops[0].name != top.name or not bound.layers[place[id(spec)]].linear():
            break
        found.append(place[id(spec)])
        top = spec.tops[0]
    return found
