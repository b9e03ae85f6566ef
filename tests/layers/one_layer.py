"""A net of one layer over Input blobs, for the tests of layer types."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers.base import Layer, Shape
from netspec.net import Net
from netspec.spec.text import parse

FILE = "net.prototxt"


def text(type: str, settings: str, shapes: Sequence[Shape], tops: int = 1) -> str:
    """The prototxt: blobs b0, b1, ... of these shapes, the layer `one`, tops t0, t1, ..."""
    dims = [" ".join(f"dim: {n}" for n in shape) for shape in shapes]
    inputs = [
        f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ {d} }} }} }}'
        for i, d in enumerate(dims)
    ]
    ends = [f'bottom: "b{i}"' for i in range(len(shapes))] + [f'top: "t{i}"' for i in range(tops)]
    return "\n".join([*inputs, f'layer {{ name: "one" type: "{type}" {" ".join(ends)}', settings, "}"])


def net(type: str, settings: str, shapes: Sequence[Shape], tops: int = 1, phase: str = "TEST") -> Net:
    return Net(lower(parse("force_backward: true " + text(type, settings, shapes, tops), FILE), phase))


def layer(type: str, settings: str, shapes: Sequence[Shape], tops: int = 1, phase: str = "TEST") -> Layer:
    return net(type, settings, shapes, tops, phase).steps[-1].layer


def top_shapes(type: str, settings: str, shapes: Sequence[Shape], tops: int = 1) -> list[Shape]:
    return layer(type, settings, shapes, tops).shapes([tuple(s) for s in shapes])


def refused(type: str, settings: str, shapes: Sequence[Shape], tops: int, message: str) -> None:
    """Building the net fails with this message, which names the layer and the line of the file."""
    with pytest.raises(SpecError) as caught:
        net(type, settings, shapes, tops)
    assert f"layer 'one' ({type}): " in caught.value.message
    assert message in caught.value.message
    assert caught.value.loc is not None and caught.value.loc.file == FILE and caught.value.loc.line > len(shapes)


def check_gradients(
    type: str, settings: str, shapes: Sequence[Shape], tops: int = 1, phase: str = "TEST", fixed: Sequence[object] = ()
) -> None:
    """Gradients to all bottoms and learned blobs against differences, in float64; `fixed` are the last bottoms."""
    one = layer(type, settings, shapes, tops, phase)
    free = len(shapes) - len(fixed)
    last = [torch.as_tensor(f, dtype=torch.float64) for f in fixed]
    blobs = one.params([tuple(s) for s in shapes])
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes[:free]]
    inputs += [torch.randn(b.shape, dtype=torch.float64, requires_grad=b.learn) for b in blobs]

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = one.forward([*(v.clone() for v in values[:free]), *last], list(values[free:]))
        return tuple(top for top in result if top.requires_grad)

    assert torch.autograd.gradcheck(run, inputs)
