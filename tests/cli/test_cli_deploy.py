"""netspec deploy: the published deploy nets from the training nets."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.cli import main
from netspec.ir.diff import diff
from netspec.pipeline import load_graph

PROTOTXT = Path(__file__).parents[2] / "prototxt"
FCNS = sorted(
    (path, folder / "deploy.prototxt")
    for folder in PROTOTXT.iterdir()
    if "-fcn" in folder.name
    for path in folder.glob("*.prototxt")
    if path.name != "deploy.prototxt"
)
LOSS = 'layer { name: "d" type: "Input" top: "d" top: "label" }\n'


def deployed(tmp_path: Path, net: Path, *arguments: str) -> Path:
    output = tmp_path / "deploy.prototxt"
    assert main(["deploy", str(net), "-o", str(output), *arguments]) == 0
    return output


@pytest.mark.parametrize(("net", "published"), FCNS, ids=lambda p: "/".join(p.parts[-2:]))
def test_fcns(net: Path, published: Path, tmp_path: Path) -> None:
    assert diff(load_graph(deployed(tmp_path, net, "--raw")), load_graph(published)) == []
    changes = diff(load_graph(published), load_graph(deployed(tmp_path, net)))
    assert {(c.kind, c.new.type) for c in changes} == {("added", "Softmax")}


@pytest.mark.parametrize("name", ["googlenet", "vgg16"])
def test_classifiers(name: str, tmp_path: Path) -> None:
    output = deployed(tmp_path, PROTOTXT / name / "train_val.prototxt")
    assert diff(load_graph(output), load_graph(PROTOTXT / name / "deploy.prototxt")) == []


def test_caffenet_keeps_its_rates(tmp_path: Path) -> None:
    """The published deploy net of CaffeNet has no param entries."""
    output = deployed(tmp_path, PROTOTXT / "caffenet/train_val.prototxt")
    assert diff(load_graph(output), load_graph(PROTOTXT / "caffenet/deploy.prototxt"), ignore=["param"]) == []


def test_shape(tmp_path: Path) -> None:
    output = deployed(tmp_path, PROTOTXT / "voc-fcn8s/train.prototxt", "--shape", "data=2x3x64x96")
    (shape,) = load_graph(output).layers[0].proto.input_param.shape
    assert list(shape.dim) == [2, 3, 64, 96]


def written(tmp_path: Path, layers: str, *arguments: str) -> list[tuple[str, str]]:
    (tmp_path / "net").write_text(LOSS + layers)
    graph = load_graph(deployed(tmp_path, tmp_path / "net", *arguments))
    return [(spec.name, spec.type) for spec in graph.layers]


def test_losses_of_other_types(tmp_path: Path) -> None:
    fc = 'layer { name: "fc" type: "InnerProduct" bottom: "d" top: "fc" }\n'
    for loss, end in (("SigmoidCrossEntropyLoss", [("prob", "Sigmoid")]), ("EuclideanLoss", []), ("HingeLoss", [])):
        layers = fc + f'layer {{ name: "loss" type: "{loss}" bottom: "fc" bottom: "label" }}'
        assert written(tmp_path, layers) == [("d", "Input"), ("fc", "InnerProduct"), *end]


def test_two_losses_and_an_auxiliary_one(tmp_path: Path) -> None:
    parts = [f'layer {{ name: "{n}" type: "InnerProduct" bottom: "d" top: "{n}" }}\nlayer {{ name: "loss_{n}" '
             f'type: "SoftmaxWithLoss" bottom: "{n}" bottom: "label" loss_weight: {w} top: "loss_{n}" }}\n'
             for n, w in (("a", 1), ("b", 1), ("aux", 0.3))]  # fmt: skip
    names = [name for name, _ in written(tmp_path, "".join(parts))]
    assert names == ["d", "a", "b", "prob_a", "prob_b"]


def test_dropout_that_is_not_in_place(tmp_path: Path) -> None:
    layers = """layer { name: "c" type: "Convolution" bottom: "d" top: "c" }
        layer { name: "drop" type: "Dropout" bottom: "c" top: "drop" }
        layer { name: "e" type: "Convolution" bottom: "drop" top: "e" }"""
    assert [name for name, _ in written(tmp_path, layers)] == ["d", "c", "e"]


def test_a_deploy_net_stays(tmp_path: Path) -> None:
    path = PROTOTXT / "voc-fcn8s/deploy.prototxt"
    assert diff(load_graph(deployed(tmp_path, path)), load_graph(path)) == []


def test_a_shape_of_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, out = str(PROTOTXT / "voc-fcn8s/train.prototxt"), tmp_path / "deploy.prototxt"
    assert main(["deploy", net, "-o", str(out), "--shape", "dat=1x3x9x9"]) == 1
    assert capsys.readouterr().err == "error: the deploy net has no input 'dat', did you mean 'data'?\n"
    assert not out.exists()
