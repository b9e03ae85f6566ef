"""data_to_input: what brings data becomes an Input, and what forgot its bottoms does not."""

from __future__ import annotations

import pytest

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.passes.bind import bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.summary import summary
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


DECLARED = [
    ("Data", "data_param { batch_size: 2 } transform_param { force_gray: true }", [(2, 1, 500, 500), (2,)]),
    ("ImageData", "image_data_param { batch_size: 2 new_height: 8 new_width: 9 }", [(2, 3, 8, 9), (2,)]),
    ("WindowData", "window_data_param { batch_size: 2 } transform_param { crop_size: 7 }", [(2, 3, 7, 7), (2,)]),
    ("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 4 width: 5 }", [(2, 1, 4, 5), (2, 1, 1, 1)]),
    (
        "AnnotatedData",
        "data_param { batch_size: 2 } transform_param { resize_param { height: 30 width: 40 } }",
        [(2, 3, 30, 40), (1, 1, 1, 8)],
    ),
    (
        "ImageSegData",
        "image_data_param { batch_size: 2 } transform_param { crop_size: 33 }",
        [(2, 3, 33, 33), (2, 1, 33, 33), (2, 1, 1, 2)],
    ),
    ("DenseImageData", "dense_image_data_param { batch_size: 2 }", [(2, 3, 500, 500), (2, 1, 500, 500)]),
    (
        "DenseImageData",
        "dense_image_data_param { batch_size: 1 new_height: 8 new_width: 16 label_divide_factor: 8 }",
        [(1, 3, 8, 16), (1, 1, 1, 2)],
    ),
    (
        "Python",
        'python_param { module: "roi_data_layer.layer" layer: "RoIDataLayer" }',
        [(1, 3, 600, 1000), (1, 3), (1, 5)],
    ),
]


@pytest.mark.parametrize(("type", "settings", "shapes"), DECLARED)
def test_what_layers_say_of_their_tops(type: str, settings: str, shapes: list[tuple[int, ...]]) -> None:
    tops = " ".join(f'top: "{name}"' for name in ["data", "label", "more"][: len(shapes)])
    found = changed(f'layer {{ name: "d" type: "{type}" {tops} {settings} }}')
    assert list(infer_shapes(bind(found.graph)).values()) == shapes


@pytest.mark.parametrize("type", ["Convolution", "ReLU"])
def test_a_forgotten_bottom_brings_no_data(type: str) -> None:
    layer = f'layer {{ name: "c" type: "{type}" top: "c" convolution_param {{ num_output: 1 kernel_size: 1 }} }}'
    with pytest.raises(SpecError, match=f"net:1:1: error: layer 'c' .{type}.: has 0 bottoms and takes"):
        bind(changed(layer).graph)


def test_a_type_that_is_not_known_is_taken_for_data() -> None:
    found = changed('layer { name: "d" type: "Dtaa" top: "data" top: "label" }')
    assert found.assumed == {"data": (1, 3, 500, 500), "label": (1, 1, 500, 500)}
    (error,) = found.unknown
    assert str(error).startswith("net:1:1: error: layer 'd' (Dtaa): unknown layer type 'Dtaa', did you mean 'Data'?")


MIXED = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 2, 6, 6] } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "odd" type: "Correlation" bottom: "c" bottom: "d" top: "odd" }
layer { name: "own" type: "Python" bottom: "c" top: "own" python_param { module: "m" layer: "L" } }
layer { name: "r" type: "ReLU" bottom: "odd" top: "odd" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 } }
"""


def test_what_nothing_here_computes_is_shown_without_shapes() -> None:
    found = summary(lower(parse(MIXED, "net")))
    shapes = {row.spec.name: row.shapes for row in found.rows}
    assert shapes == {"d": ((1, 2, 6, 6),), "c": ((1, 3, 4, 4),), "odd": (), "own": (), "r": (), "p": ((1, 3, 3, 3),)}
    odd, own = found.unknown
    assert odd.startswith("net:3:1: layer 'odd' (Correlation): unknown layer type 'Correlation'")
    assert own.startswith("net:4:86: layer 'own' (Python): 'm.L' is Python code of the net's own")
    assert found.params == 3 * 2 * 9 + 3
    with pytest.raises(SpecError, match=r"net:3:1: error: layer 'odd' \(Correlation\): unknown layer type"):
        bind(lower(parse(MIXED, "net")))
