"""emit: the text of a graph reads back as the same graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from random_nets import graph_of, nets

from netspec.ir.diff import diff
from netspec.ir.emit import emit, emit_text
from netspec.ir.graph import Blob, Graph
from netspec.ir.lower import lower
from netspec.passes.bind import bind
from netspec.passes.insert_splits import insert_splits
from netspec.pipeline import load_graph
from netspec.spec.text import parse

PROTOTXT = sorted((Path(__file__).parents[2] / "prototxt").rglob("*.prototxt"))


def again(graph: Graph) -> Graph:
    return lower(parse(emit_text(graph)), graph.phase, graph.state.level)


def essence(graph: Graph) -> object:
    """All but the places in the file."""
    layers = [(spec.name, spec.type, spec.bottoms, spec.tops, spec.proto) for spec in graph.layers]
    return graph.name, layers, graph.state, graph.force_backward, graph.debug_info


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("path", PROTOTXT, ids=lambda p: "/".join(p.parts[-2:]))
def test_published_nets(path: Path, phase: str) -> None:
    graph = load_graph(path, phase, stages=["test-on-test"] if path.parent.name == "autoencoder" else ())
    assert essence(again(graph)) == essence(graph)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(nets())
def test_any_net(net: object) -> None:
    graph = graph_of(net)
    assert essence(again(graph)) == essence(graph)
    split = insert_splits(graph)
    assert emit_text(again(split)) == emit_text(split)


def test_net_settings_and_stages() -> None:
    settings = 'name: "n" force_backward: true debug_info: true state { stage: "a" }'
    graph = lower(parse(settings + 'layer { name: "d" type: "Input" top: "d" }'), "TEST", 3, ["b"])
    assert essence(again(graph)) == essence(graph)
    assert 'stage: "a"\n  stage: "b"' in emit_text(graph)


def test_automatic_tops_are_left_out() -> None:
    graph = lower(
        parse("""layer { name: "d" type: "Input" top: "d" top: "l" }
        layer { name: "loss" type: "EuclideanLoss" bottom: "d" bottom: "l" }""")
    )
    bound = bind(graph).graph
    assert len(bound.layers[1].tops) == 1 and list(emit(bound).layer[1].top) == []
    assert diff(again(bound), graph) == []


def test_a_value_that_names_cannot_tell_is_refused() -> None:
    graph = lower(
        parse("""layer { name: "d" type: "Input" top: "d" }
        layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
        layer { name: "t" type: "TanH" bottom: "d" top: "t" }""")
    )
    older = replace(graph.layers[2], bottoms=(Blob("d", 0),))
    with pytest.raises(AssertionError, match="names alone"):
        emit(replace(graph, layers=(*graph.layers[:2], older)))
