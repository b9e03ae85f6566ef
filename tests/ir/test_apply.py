"""apply: changes make the second net of the first (for any nets: test_diff)."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from netspec.ir.apply import apply
from netspec.ir.diff import diff
from netspec.ir.emit import emit_text
from netspec.ir.graph import Graph
from netspec.pipeline import load_graph

PROTOTXT = Path(__file__).parents[2] / "prototxt"
NETS = [
    "voc-fcn32s/train",
    "voc-fcn8s/train",
    "voc-fcn8s-atonce/val",
    "siftflow-fcn16s/trainval",
    "googlenet/train_val",
]


def graph(name: str, phase: str = "TRAIN") -> Graph:
    return load_graph(PROTOTXT / f"{name}.prototxt", phase)


@pytest.mark.parametrize(("one", "other"), list(permutations(NETS, 2)))
def test_from_net_to_net(one: str, other: str) -> None:
    a, b = graph(one), graph(other)
    c = apply(diff(a, b), a)
    assert diff(c, b) == []
    assert emit_text(c) == emit_text(apply([], b))


def test_from_phase_to_phase() -> None:
    a, b = graph("googlenet/train_val"), graph("googlenet/train_val", "TEST")
    c = apply(diff(a, b), a)
    assert c.phase == "TEST" and diff(c, b) == []


def test_no_changes_keep_the_meaning() -> None:
    a = graph("voc-fcn8s/train")
    assert diff(a, apply([], a)) == []
