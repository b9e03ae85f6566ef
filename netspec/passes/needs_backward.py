"""needs_backward: where gradients flow, so that what is frozen costs none.

1. A parameter blob needs a gradient from a layer that does not give it lr_mult 0.
2. A bottom needs one when the layer that made it needs one; propagate_down overrules.
3. A layer needs one when a bottom or a parameter of it does.
4. A layer runs backward when it needs a gradient, a loss depends on it, and one comes down to a top of it.
5. With force_backward every layer runs backward; every bottom that can take a gradient and every parameter gets one.
   So do all bottoms of a type that gives gradients unasked.
6. A gradient asked for a bottom that takes none is refused: where a loss asks, before a training net runs; where only
   force_backward asks, or in a test net, when backward runs. Types that do not refuse give none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netspec.errors import SpecError
from netspec.ir.graph import Blob, ancestors
from netspec.ir.lower import nth
from netspec.passes.bind import Bound
from netspec.passes.loss_weights import LossWeight
from netspec.passes.parameters import Parameter

Flags = tuple[bool, ...]


@dataclass(frozen=True)
class Needs:
    """Which layers run backward, which of each layer's bottoms and parameters take a gradient, and what is refused.

    `bottoms` says where gradients flow whatever they come from, so also in layers that no loss depends on.
    """

    layers: Flags
    bottoms: tuple[Flags, ...]
    params: tuple[Flags, ...]
    refused: tuple[SpecError, ...]
    """For whoever runs the whole net backward: the first of these is to be raised."""


def needs_backward(bound: Bound, table: Sequence[Parameter], losses: Mapping[Blob, LossWeight]) -> Needs:
    """The tables. In a training net a loss's gradient that would reach a label is an error at once."""
    graph = bound.graph
    force = graph.force_backward
    asked = flows(bound, table)
    runs = backward_layers(bound, table, asked, losses)
    refused = list(refusals(bound, asked, runs, False))
    if refused and graph.phase == "TRAIN":
        raise refused[0]
    bottoms = tuple(
        tuple((a or force or layer.unasked) and layer.gradient_to(i) for i, a in enumerate(flags))
        for layer, flags in zip(bound.layers, asked, strict=True)
    )
    if force:
        refused += refusals(bound, tuple(tuple(True for _ in flags) for flags in asked), [True] * len(runs), True)
    params = tuple(tuple(p.blob.learn and (force or p.learns) for p in table if p.layer == n) for n in range(len(runs)))
    return Needs(tuple(force or run for run in runs), bottoms, params, tuple(refused))


def learned(table: Sequence[Parameter]) -> set[int]:
    """Layers with a parameter that learns."""
    return {p.layer for p in table if p.learns}


def flows(bound: Bound, table: Sequence[Parameter]) -> tuple[Flags, ...]:
    """Rules 1 to 3: per layer, for which bottoms a gradient is asked."""
    own = learned(table)
    made: dict[Blob, bool] = {}
    rows = []
    for number, spec in enumerate(bound.graph.layers):
        rows.append(tuple(spec.proto.propagate_down) or tuple(made[b] for b in spec.bottoms))
        made |= dict.fromkeys(spec.tops, any(rows[-1]) or number in own)
    return tuple(rows)


def backward_layers(
    bound: Bound, table: Sequence[Parameter], asked: Sequence[Flags], losses: Mapping[Blob, LossWeight]
) -> list[bool]:
    """Rule 4, from the last layer to the first."""
    own = learned(table)
    under = ancestors(bound.graph, losses)
    reached = set(losses)
    runs = [False] * len(asked)
    for number in reversed(range(len(asked))):
        spec = bound.graph.layers[number]
        needs = any(asked[number]) or number in own
        runs[number] = needs and number in under and not reached.isdisjoint(spec.tops)
        if runs[number]:
            reached.update(b for b, a in zip(spec.bottoms, asked[number], strict=True) if a)
    return runs


def refusals(bound: Bound, asked: Sequence[Flags], runs: Sequence[bool], forced: bool) -> Iterator[SpecError]:
    """Rule 6: one error per bottom that is asked for a gradient it cannot take."""
    for number, (spec, layer) in enumerate(bound):
        refuses = layer.refuses or (layer.loss and not forced)
        for index, ask in enumerate(asked[number] if runs[number] and refuses else ()):
            if ask and not layer.gradient_to(index):
                why = "force_backward asks for one" if forced else "a learned layer makes it; add propagate_down: false"
                yield SpecError(
                    f"layer '{spec.name}' ({spec.type}): no gradient can flow to bottom '{spec.bottoms[index]}', "
                    f"but {why}",
                    nth(spec.place, "bottom", index).loc,
                )
