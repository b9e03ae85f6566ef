"""insert_splits: every value is read by one layer only, as Caffe runs and saves nets.

1. A value read more than once, or read and weighed by a written loss_weight, goes through a Split of as many tops.
2. The Split stands right after the layer that made the value and is named `<blob>_<layer>_<top>_split`;
   its tops add `_<i>`. Readers take them in order; a loss weight takes the first.
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
        splits = []
        weights = list(spec.proto.loss_weight)
        for index, top in enumerate(spec.tops):
            weight = weights[index] if index < len(weights) else 0.0
            uses = len(readers[top]) + (1 if weight and readers[top] else 0)
            if uses > 1:
                split = split_layer(spec, index, top, uses, weight)
                splits.append(split)
                queue[top] = list(split.tops[1:] if weight else split.tops)
                if weight:
                    weights[index] = 0.0
        layers += [with_weights(spec, weights), *splits]
    return replace(graph, layers=tuple(layers)).verify("insert_splits")


def with_weights(spec: LayerSpec, weights: list[float]) -> LayerSpec:
    """The layer with other loss weights."""
    if weights == list(spec.proto.loss_weight):
        return spec
    proto = type(spec.proto)()
    proto.CopyFrom(spec.proto)
    proto.loss_weight[:] = weights
    return replace(spec, proto=proto)


def split_layer(spec: LayerSpec, index: int, top: Blob, uses: int, weight: float) -> LayerSpec:
    name = f"{top.name}_{spec.name}_{index}_split"
    tops = tuple(Blob(f"{name}_{i}") for i in range(uses))
    proto = schema.new("LayerParameter", name=name, type="Split", bottom=[top.name], top=[t.name for t in tops])
    if weight:
        proto.loss_weight.extend([weight] + [0.0] * (uses - 1))
    return LayerSpec(name, "Split", (top,), tops, proto, spec.place)
