"""insert_splits: every value is read by one layer only, as Caffe runs and saves nets.

1. A value read more than once, or read and weighed by a written loss_weight, goes through a Split of as many tops.
2. The Split stands right after the layer that made the value and is named `<blob>_<layer>_<top>_split`;
   its tops add `_<i>`. Readers take them in order; a loss weight takes the first.
3. A layer whose top takes its weight to a Split keeps none of its own, so that a loss layer falls back on its default,
   which counts in the value of the loss and, since the top is read, not in the gradient.
"""

from __future__ import annotations

from dataclasses import replace

from netspec import schema
from netspec.ir.graph import Blob, Graph, LayerSpec


def insert_splits(graph: Graph) -> Graph:
    """The graph with Split layers; one that has them comes back the same."""
    readers = graph.readers()
    queue: dict[Blob, list[Blob]] = {}
    layers: list[LayerSpec] = []
    for spec in graph.layers:
        spec = replace(spec, bottoms=tuple(queue[b].pop(0) if b in queue else b for b in spec.bottoms))
        splits = [split for i, top in enumerate(spec.tops) if (split := split_of(spec, i, top, len(readers[top])))]
        for split in splits:
            queue[split.bottoms[0]] = list(split.tops[len(split.proto.loss_weight) and 1 :])
        layers += [without_weights(spec) if any(s.proto.loss_weight for s in splits) else spec, *splits]
    return replace(graph, layers=tuple(layers)).verify("insert_splits")


def split_of(spec: LayerSpec, index: int, top: Blob, reads: int) -> LayerSpec | None:
    """The Split that a top needs, if any."""
    weights = spec.proto.loss_weight
    weight = weights[index] if index < len(weights) else 0.0
    uses = reads + (1 if weight else 0)
    if uses < 2:
        return None
    name = f"{top.name}_{spec.name}_{index}_split"
    tops = tuple(Blob(f"{name}_{i}") for i in range(uses))
    proto = schema.new("LayerParameter", name=name, type="Split", bottom=[top.name], top=[t.name for t in tops])
    if weight:
        proto.loss_weight.extend([weight] + [0.0] * (uses - 1))
    return LayerSpec(name, "Split", (top,), tops, proto, spec.place)


def without_weights(spec: LayerSpec) -> LayerSpec:
    """The layer with no written loss weights."""
    proto = type(spec.proto)()
    proto.CopyFrom(spec.proto)
    proto.ClearField("loss_weight")
    return replace(spec, proto=proto)
