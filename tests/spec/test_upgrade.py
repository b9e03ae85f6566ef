"""Upgrades against what Caffe's own tools made of the same files."""

from __future__ import annotations

import logging

import pytest
from golden_data import golden, golden_json

from netspec.errors import SpecError
from netspec.spec import text
from netspec.spec.upgrade import upgrade_net, upgrade_solver

CASES = golden_json("files/legacy/legacy.json")
ERRORS = {
    "v0_padding_before_relu": "v0_padding_before_relu.prototxt:3:1: error: layer 'r' (relu) reads padding layer 'p'",
    "mixed_layer_and_layers": "mixed_layer_and_layers.prototxt:2:1: error: both 'layer' (today's form) and 'layers'",
    "unknown_field": "unknown_field.prototxt:1:53: error: LayerParameter has no field 'no_such_field'",
    "both": "solver_both.prototxt:1:10: error: both solver_type (old) and type (today's) are given",
}


def cases(part: str) -> list[tuple[str, dict]]:
    return list(CASES.get(part, {}).items())


def check(name: str, case: dict, message: str, upgrade) -> None:
    folder = golden("files/legacy")
    if "out" not in case:
        with pytest.raises(SpecError) as caught:
            upgrade(text.read(folder / case["in"], message))
        assert ERRORS[name] in str(caught.value)
        return
    document = text.read(folder / case["in"], message)
    upgraded = upgrade(document)
    assert text.dump(upgraded.message) == text.dump(text.read(folder / case["out"], message).message)
    assert upgrade(upgraded) is upgraded
    assert (upgraded is document) == any("already in latest" in e for e in case["errors"]) or message != "NetParameter"


@pytest.mark.parametrize(("name", "case"), cases("nets"))
def test_golden_net(name: str, case: dict) -> None:
    check(name, case, "NetParameter", upgrade_net)


@pytest.mark.parametrize(("name", "case"), cases("solvers"))
def test_golden_solver(name: str, case: dict) -> None:
    check(name, case, "SolverParameter", upgrade_solver)


def test_misplaced_v0_fields_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    case = CASES.get("nets", {}).get("v0_misplaced_fields") or pytest.skip("no golden data")
    problems: list[SpecError] = []
    with caplog.at_level(logging.WARNING):
        upgrade_net(text.read(golden("files/legacy") / case["in"]), problems)
    assert len(problems) == sum("Unknown parameter" in e for e in case["errors"])
    assert "v0_misplaced_fields.prototxt:1:41: error: layer 'r': a V0 layer of type relu has no num_output" in str(
        problems[0]
    )
    assert all(p.message in caplog.text for p in problems)


def test_v0_that_is_only_dropped_is_no_problem() -> None:
    problems: list[SpecError] = []
    upgrade_net(text.read(golden("files/legacy") / "v0_all_types.prototxt"), problems)
    assert problems == []


def test_places_are_carried() -> None:
    document = text.parse(
        """input: "x"
input_dim: 1 input_dim: 2
input_dim: 3 input_dim: 4
layers { type: DATA
  data_param { source: "s"
    scale: 2 } }
layers {
  name: "ip"
  type: INNER_PRODUCT
  blobs_lr: 1
  blobs_lr: 2
  weight_decay: 0
}""",
        "f",
    )
    places = upgrade_net(document).place.fields["layer"]
    assert [str(p.loc) for p in places] == ["f:1:1", "f:4:1", "f:7:1"]
    assert str(places[0].of("input_param.shape")) == "f:2:1"
    assert str(places[1].of("transform_param.scale")) == "f:6:5"
    assert str(places[2].of("type")) == "f:9:3"
    assert [str(p.of("lr_mult")) for p in places[2].fields["param"]] == ["f:10:3", "f:11:3"]
    assert document.message.layers[0].data_param.scale == 2


def test_places_of_v0() -> None:
    document = text.parse(
        """layers { layer { name: "d" type: "data" source: "s" } top: "d" }
layers { bottom: "d" top: "p"
  layer { name: "pad" type: "padding" pad: 3 } }
layers { layer {
  name: "c" type: "conv"
  kernelsize: 3 }
  bottom: "p" top: "c" }""",
        "f",
    )
    conv = upgrade_net(document).place.fields["layer"][1]
    assert str(conv.loc) == "f:4:1"
    assert str(conv.of("convolution_param.kernel_size")) == "f:6:3"
    assert str(conv.of("convolution_param.pad")) == "f:3:39"
    assert str(conv.of("bottom")) == "f:2:10"


def test_input_layer_comes_first_before_todays_layers() -> None:
    document = text.parse('layer { name: "r" }\ninput: "x" input_shape { dim: 1 }', "f")
    upgraded = upgrade_net(document)
    assert [layer.name for layer in upgraded.message.layer] == ["input", "r"]
    assert [p.loc.line for p in upgraded.place.fields["layer"]] == [2, 1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('input: "x" input_shape { }\ninput: "y"', "f:2:1: error: input 'y' has no input_shape"),
        ('input: "x" input_dim: 1', "f:1:1: error: input 'x' has fewer than four values of input_dim"),
        (
            'layers { layer { name: "a" type: "convv" } }',
            "f:1:28: error: layer 'a': unknown V0 layer type 'convv', did you mean 'conv'?",
        ),
        (
            'layers { layer { name: "a" type: "relu" } bottom: "dta" }\ninput: "data" input_dim: [1, 1, 1, 1]',
            "f:1:43: error: layer 'a': unknown bottom 'dta', did you mean 'data'?",
        ),
        (
            'layers { layer { name: "a" type: "relu" } }\nlayers { name: "b" type: RELU }',
            "f:2:1: error: V0 and V1 layers in one net",
        ),
    ],
)
def test_errors_have_a_place(source: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        upgrade_net(text.parse(source, "f"))
    assert message in str(caught.value)


def test_nets_inside_a_solver() -> None:
    document = text.parse('net_param { layers { name: "r" type: RELU } }', "f", "SolverParameter")
    upgraded = upgrade_solver(document)
    assert upgraded.message.net_param.layer[0].type == "ReLU"
    assert upgrade_solver(upgraded) is upgraded
