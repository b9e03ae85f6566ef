"""Input shapes that a training net does not tell, found in the weights that it was trained to.

1. The channels are those that the first convolution on the input has weights for.
2. Height and width are equal, and the largest for which every InnerProduct finds as many values as it has weights for.
3. A net that no size fits, or that has no InnerProduct, keeps the size assumed in `data_to_input`.
"""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.ir.graph import Blob, Graph
from netspec.layers import Shape
from netspec.passes.bind import Bound, bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.deploy import deploy
from netspec.passes.infer_shapes import infer_shapes
from netspec.weights.model import Model

LARGEST = 1024


def inferred_shapes(graph: Graph, model: Model) -> dict[str, Shape]:
    """`{input: shape}` for the pictures whose shapes the net leaves open."""
    assumed = data_to_input(graph).assumed
    bound = bind(deploy(graph))
    found = {}
    for name in [b.name for b in bound.graph.inputs if b.name in assumed]:
        shape = assumed[name]
        channels = first_channels(bound, name, model) if len(shape) == 4 else 0
        if channels:
            found[name] = (1, channels, *largest_size(bound, model, name, channels, shape[2:]))
    return found


def first_channels(bound: Bound, name: str, model: Model) -> int:
    """Rule 1; 0 where no convolution with stored weights reads the input."""
    stored = model.blobs()
    for spec, _ in bound:
        weight = stored.get(spec.name, [None])[0]
        if Blob(name) in spec.bottoms and spec.type == "Convolution" and weight is not None and weight.ndim == 4:
            return weight.shape[1] * spec.proto.convolution_param.group
    return 0


def largest_size(bound: Bound, model: Model, name: str, channels: int, assumed: Shape) -> Shape:
    """Rules 2 and 3, by bisection: the values that a layer finds grow with the picture."""
    low, high = 0, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(bound, model, {name: (1, channels, middle, middle)}) > 0 else (middle, high)
    fits = low and excess(bound, model, {name: (1, channels, low, low)}) == 0
    return (low, low) if fits else assumed


def excess(bound: Bound, model: Model, given: dict[str, Shape]) -> int:
    """How many values more than it has weights for the first InnerProduct finds; below 0 where there is no room."""
    stored = model.blobs()
    try:
        shapes = infer_shapes(bound, given)
    except SpecError:
        return -1
    for spec, layer in bound:
        weight = stored.get(spec.name, [None])[0]
        if spec.type == "InnerProduct" and weight is not None:
            wanted = layer.params([shapes[b] for b in spec.bottoms])[0].shape
            return wanted[1] - weight.shape[-1]
    return -1
