"""recomputation: which stretches of a pass are run again in backward, so that what lies inside them is not kept.

1. A stretch is of about as many layers as there are stretches: √n of n.
2. Outside stretches stay layers that must run once: those that bring data, act outside the net, keep something for the
   next pass or hold statistics; and those that run by a pass of their own (`apart`).
3. In a stretch, a layer overwrites only what the stretch has made: what it reads, running again needs as it was.

Values and gradients are the same; a pass takes about a third longer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isqrt

from netspec.ir.graph import Blob, LayerSpec
from netspec.layers import Layer
from netspec.passes.bind import Bound

Steps = tuple[tuple[int, tuple[Blob, ...]], ...]


@dataclass(frozen=True)
class Stretch:
    """Layers in order, each with the values that are dead after it."""

    steps: Steps
    again: bool
    """Whether backward runs them again."""


def recomputation(bound: Bound, steps: Steps, apart: Collection[int], statistics: Collection[int]) -> list[Stretch]:
    """The stretches of a course; `statistics` are the layers whose parameter blobs are not all learned."""
    length = max(2, isqrt(len(steps)))
    out: list[Stretch] = []
    for step in steps:
        number = step[0]
        spec, layer = bound.graph.layers[number], bound.layers[number]
        last = out[-1] if out else None
        inside = last is not None and last.again and not made(bound, last).isdisjoint(spec.bottoms[:1])
        again = number not in apart and number not in statistics and repeatable(spec, layer)
        again = again and (not layer.overwrite or inside)
        alike = last is not None and last.again == again
        if last is not None and alike and (not again or len(last.steps) < length or layer.overwrite):
            out[-1] = Stretch((*last.steps, step), again)
        else:
            out.append(Stretch((step,), again))
    return out


def made(bound: Bound, stretch: Stretch) -> set[Blob]:
    """The tops of a stretch's layers."""
    return {top for number, _ in stretch.steps for top in bound.graph.layers[number].tops}


def repeatable(spec: LayerSpec, layer: Layer) -> bool:
    """Whether a second run in the same pass changes nothing."""
    once = layer.is_data or layer.loss or spec.type in ("Input", "Python") or not spec.tops
    return not once and type(layer).memory is Layer.memory


def dead(steps: Sequence[tuple[int, tuple[Blob, ...]]]) -> list[Blob]:
    """The values that nobody wants after these layers."""
    return [blob for _, free in steps for blob in free]
