"""The graph: blobs as values, who reads and writes them, what verify refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netspec.ir.graph import Blob, Graph, ancestors
from netspec.ir.lower import lower
from netspec.spec.text import parse

NET = """
layer { name: "data" type: "Input" top: "data" top: "unused" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "left" type: "TanH" bottom: "conv" top: "left" }
layer { name: "right" type: "TanH" bottom: "conv" top: "right" }
"""


@pytest.fixture
def graph() -> Graph:
    return lower(parse(NET))


def test_an_in_place_write_is_a_new_version(graph: Graph) -> None:
    assert graph.layers[2].bottoms == (Blob("conv", 0),) and graph.layers[2].tops == (Blob("conv", 1),)
    assert graph.layers[3].bottoms == (Blob("conv", 1),)
    assert graph.last()["conv"] == Blob("conv", 1)


def test_readers_and_writers(graph: Graph) -> None:
    assert [spec.name for spec in graph.readers()[Blob("conv", 1)]] == ["left", "right"]
    assert graph.writers()[Blob("conv", 1)].name == "relu"


def test_inputs_and_outputs(graph: Graph) -> None:
    assert [b.name for b in graph.inputs] == ["data", "unused"]
    assert [b.name for b in graph.outputs] == ["left", "right", "unused"]


def test_ancestors(graph: Graph) -> None:
    assert ancestors(graph, [Blob("right")]) == {0, 1, 2, 4}


def test_verify_names_the_pass(graph: Graph) -> None:
    broken = replace(graph, layers=graph.layers[1:])
    with pytest.raises(AssertionError, match="conv reads .* before it is made after prune"):
        broken.verify("prune")
    with pytest.raises(AssertionError, match="a second time"):
        replace(graph, layers=(*graph.layers, graph.layers[-1])).verify()
