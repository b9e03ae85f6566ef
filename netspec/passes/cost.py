"""cost: what each layer computes and holds, and the memory of all activations.

1. Parameters count once, for the layer that owns them. Multiply-accumulates are those of layers with parameters, as
   they are usually counted: pooling and LRN are left out.
2. A top written in place, or one that shares its bottom's memory (Split, Reshape, ...), holds no memory of its own.
3. Training keeps every value, and its gradient where one flows; testing frees a value after its last reader.

Memory is in bytes of float32 values, multiply-accumulates are of one forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from netspec.ir.graph import Blob, LayerSpec
from netspec.layers.base import Layer, Shape
from netspec.passes.bind import Bound, blame
from netspec.passes.needs_backward import Needs
from netspec.passes.parameters import Parameter


@dataclass(frozen=True)
class Cost:
    """One layer's own parameters (values), multiply-accumulates, and bytes of new tops."""

    params: int
    macs: int
    memory: int


def cost(bound: Bound, shapes: Mapping[Blob, Shape], table: Sequence[Parameter]) -> tuple[Cost, ...]:
    """A row per layer."""
    params = [0] * len(bound.layers)
    for position, entry in enumerate(table):
        if entry.owner == position:
            params[entry.layer] += prod(entry.blob.shape)
    rows = []
    weighted = {entry.layer for entry in table}
    for n, (spec, layer) in enumerate(bound):
        with blame(spec):
            macs = layer.macs([shapes[b] for b in spec.bottoms], [shapes[t] for t in spec.tops]) if n in weighted else 0
        memory = sum(4 * prod(shapes[t]) for t in own_memory(spec, layer))
        rows.append(Cost(params[n], macs, memory))
    return tuple(rows)


def own_memory(spec: LayerSpec, layer: Layer) -> list[Blob]:
    """The tops that take memory of their own."""
    return (
        [] if layer.aliases else [t for t in spec.tops if not t.version or t.name not in {b.name for b in spec.bottoms}]
    )


def activation_memory(bound: Bound, shapes: Mapping[Blob, Shape], needs: Needs) -> tuple[int, int]:
    """Bytes at most held at one time in training and in testing."""
    holder: dict[Blob, Blob] = {}
    flows: set[Blob] = set()
    last_use: dict[Blob, int] = {}
    for n, (spec, layer) in enumerate(bound):
        own = own_memory(spec, layer)
        for i, top in enumerate(spec.tops):
            holder[top] = top if top in own else holder[spec.bottoms[min(i, len(spec.bottoms) - 1)]]
        flows.update(holder[b] for b, need in zip(spec.bottoms, needs.bottoms[n], strict=True) if need)
        last_use.update((holder[v], n) for v in (*spec.bottoms, *spec.tops))
    held = set(holder.values())
    training = sum(4 * prod(shapes[v]) * (1 + (v in flows)) for v in held)
    outputs = {holder[v] for v in bound.graph.outputs}
    return training, peak(bound, shapes, held, {v: n for v, n in last_use.items() if v not in outputs})


def peak(bound: Bound, shapes: Mapping[Blob, Shape], held: set[Blob], last_use: Mapping[Blob, int]) -> int:
    """The most bytes alive while any one layer runs; a value without a last use stays to the end."""
    ends: dict[int, list[Blob]] = {}
    for value, n in last_use.items():
        ends.setdefault(n, []).append(value)
    alive = most = 0
    for n, spec in enumerate(bound.graph.layers):
        alive += sum(4 * prod(shapes[t]) for t in spec.tops if t in held)
        most = max(most, alive)
        alive -= sum(4 * prod(shapes[v]) for v in ends.get(n, ()))
    return most
