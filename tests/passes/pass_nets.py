"""Small nets for the tests of passes."""

from __future__ import annotations

from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.passes.bind import Bound, bind
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.loss_weights import LossWeight, loss_weights
from netspec.passes.needs_backward import Needs, needs_backward
from netspec.passes.parameters import Parameter, parameters
from netspec.spec.text import parse

FILE = "net.prototxt"


def read(source: str, phase: str = "TRAIN") -> Graph:
    return lower(parse(source, FILE), phase)


def input(name: str, *dims: int) -> str:
    shape = " ".join(f"dim: {n}" for n in dims)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'


def layer(type: str, name: str, bottoms: str, tops: str | None = None, settings: str = "") -> str:
    """Bottoms and tops are names with blanks between; one top of the layer's own name by default."""
    ends = [f'bottom: "{b}"' for b in bottoms.split()]
    ends += [f'top: "{t}"' for t in (name if tops is None else tops).split()]
    return f'layer {{ name: "{name}" type: "{type}" {" ".join(ends)} {settings} }}\n'


def ip(name: str, bottom: str, num_output: int = 3, settings: str = "") -> str:
    return layer("InnerProduct", name, bottom, None, f"inner_product_param {{ num_output: {num_output} }} {settings}")


def tables(source: str, phase: str = "TRAIN") -> tuple[Bound, tuple[Parameter, ...], dict[str, LossWeight], Needs]:
    """What the passes say of a net; loss weights by the blob's name."""
    bound = bind(read(source, phase))
    table = parameters(bound, infer_shapes(bound))
    losses = loss_weights(bound)
    return bound, table, {b.name: w for b, w in losses.items()}, needs_backward(bound, table, losses)


def running(bound: Bound, needs: Needs) -> list[str]:
    """Names of the layers that run backward."""
    return [spec.name for spec, run in zip(bound.graph.layers, needs.layers, strict=True) if run]
