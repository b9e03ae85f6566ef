"""needs_backward: where gradients flow, so that what is frozen costs none.

1. A parameter blob needs a gradient when its lr_mult is not 0.
2. A bottom needs one when the layer that made it needs one; propagate_down overrules.
3. A layer needs one when a bottom or a parameter of it does; so do its tops then.
4. A layer no loss depends on needs none.
5. With force_backward every bottom that can take a gradient and every parameter gets one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.ir.graph import Blob, ancestors
from netspec.ir.lower import nth
from netspec.errors import SpecError
from netspec.passes.bind import Bound
from netspec.passes.loss_weights import LossWeight
from netspec.passes.parameters import Parameter


@dataclass(frozen=True)
class Needs:
    """Per layer; `bottoms` and `params` per layer and index."""

    layers: tuple[bool, ...]
    bottoms: tuple[tuple[bool, ...], ...]
    params: tuple[tuple[bool, ...], ...]


def needs_backward(bound: Bound, table: Sequence[Parameter], losses: dict[Blob, LossWeight]) -> Needs:
    """The three tables. A gradient that would reach a label is refused, as Caffe does."""
    force = bound.graph.force_backward
    under = ancestors(bound.graph, [b for b, w in losses.items() if w.gradient])
    flows: dict[Blob, bool] = {}
    layers, bottoms, params = [], [], []
    for number, (spec, layer) in enumerate(bound):
        own = [p for p in table if p.layer == number]
        down = list(spec.proto.propagate_down) or [flows[b] for b in spec.bottoms]
        learned = any(p.lr_mult != 0 for p in own)
        need = any(down) or learned
        wanted = [d or (force and layer.gradient_to(i)) for i, d in enumerate(down)]
        check_labels(bound, number, wanted if number in under else [])
        for top in spec.tops:
            flows[top] = need or (force and any(wanted))
        layers.append(need and (number in under or not losses))
        bottoms.append(tuple(wanted))
        params.append(tuple(p.blob.learn and (force or p.lr_mult != 0) for p in own))
    return Needs(tuple(layers), tuple(bottoms), tuple(params))


def check_labels(bound: Bound, number: int, wanted: Sequence[bool]) -> None:
    spec, layer = bound.graph.layers[number], bound.layers[number]
    for index, want in enumerate(wanted):
        if want and not layer.gradient_to(index):
            raise SpecError(
                f"layer '{spec.name}' ({spec.type}): no gradient can flow to bottom '{spec.bottoms[index]}', "
                "but a learned layer makes it; add propagate_down",
                nth(spec.place, "bottom", index).loc,
            )
