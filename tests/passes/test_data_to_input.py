"""data_to_input: what brings data becomes an Input, and what forgot its bottoms does not."""

from __future__ import annotations

import pytest

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.passes.bind import bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.spec.text import parse


def changed(layer: str):
    return data_to_input(lower(parse(layer, "net")))


def test_settings_say_the_shape_or_it_is_assumed() -> None:
    found = changed('layer { name: "d" type: "Data" top: "data" top: "y" data_param { batch_size: 4 } '
                    "transform_param { crop_size: 32 } }")  # fmt: skip
    assert [layer.type for layer in found.graph.layers] == ["Input"]
    assert {str(b): s for b, s in infer_shapes(bind(found.graph)).items()} == {"data": (4, 3, 32, 32), "y": (4,)}
    assert found.assumed == {}
    assert changed('layer { name: "d" type: "Data" top: "data" }').assumed == {"data": (1, 3, 500, 500)}


@pytest.mark.parametrize(
    ("type", "problem"), [("Convolution", None), ("ReLU", None), ("Dtaa", "unknown layer type 'Dtaa', did you mean")]
)
def test_a_forgotten_bottom_brings_no_data(type: str, problem: str | None) -> None:
    layer = f'layer {{ name: "c" type: "{type}" top: "c" convolution_param {{ num_output: 1 kernel_size: 1 }} }}'
    with pytest.raises(SpecError, match=problem or f"net:1:1: error: layer 'c' .{type}.: has 0 bottoms and takes"):
        bind(changed(layer).graph)
