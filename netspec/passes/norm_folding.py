"""norm_folding: which BatchNorm and Scale layers a frozen net computes with the convolution before them.

1. They work in place on the convolution's top, one after the other, and nothing else reads what lies between: no name
   stands for it.
2. The BatchNorm has stored statistics; the Scale has a learned factor per channel, and a bias or none.
3. weight' = factor · weight and bias' = factor · bias + shift, layer by layer. Results differ by rounding alone.
"""

from __future__ import annotations

from netspec.ir.graph import Blob
from netspec.passes.bind import Bound


def norm_folding(bound: Bound, number: int) -> tuple[tuple[int, ...], Blob]:
    """Positions of the layers that can be folded into the convolution at `number`, and the top of the last."""
    readers, top = bound.graph.readers(), bound.graph.layers[number].tops[0]
    position = {id(spec): n for n, (spec, _) in enumerate(bound)}
    found = []
    while len(readers[top]) == 1:
        spec = readers[top][0]
        if spec.bottoms != (top,) or spec.tops[0].name != top.name or not bound.layers[position[id(spec)]].linear():
            break
        found.append(position[id(spec)])
        top = spec.tops[0]
    return tuple(found), top
