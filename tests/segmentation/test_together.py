"""Batches of one size run together: the values of each batch alone, whatever the net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from netspec.layers.base import DataLayer
from netspec.net import Net
from netspec.pipeline import load_graph
from netspec.segmentation import together
from netspec.solver.scoring import Scorer

SIZES = [(8, 9), (10, 7), (8, 9), (8, 9), (10, 7), (6, 6), (8, 9)]


class SizedSource:
    """Pictures of several sizes with their labels, each with an id."""

    id: str | None = None

    def __init__(self) -> None:
        self.at = -1

    def next(self) -> list[np.ndarray]:
        self.at += 1
        height, width = SIZES[self.at % len(SIZES)]
        self.id = f"picture{self.at}"
        values = np.random.default_rng(self.at)
        x = values.normal(size=(1, 3, height, width)).astype("f4")
        return [x, values.integers(0, 4, (1, 1, height, width)).astype("f4")]

    def peek_shapes(self) -> list[tuple[int, ...]]:
        return [(1, 3, *SIZES[0]), (1, 1, *SIZES[0])]

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class SizedForTests(DataLayer):
    """The tops of a SizedSource."""

    def open(self) -> SizedSource:
        return SizedSource()


BODY = """
layer { name: "data" type: "SizedForTests" top: "data" top: "label" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
%s
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "loss" }
"""
RESHAPED = (
    'layer { name: "flat" type: "Reshape" bottom: "conv" top: "flat" '
    "reshape_param { shape { dim: 1 dim: 4 dim: -1 dim: 0 } } }"
)
NORMED = (
    'layer { name: "flat" type: "BatchNorm" bottom: "conv" top: "flat" batch_norm_param { use_global_stats: false } }'
)


def make(tmp_path, inner: str = "", last: str = "conv") -> tuple[Net, Scorer]:
    path = tmp_path / "net.prototxt"
    path.write_text(BODY % (inner, last))
    torch.manual_seed(0)
    net = Net(load_graph(path, "TEST"))
    scorer = Scorer.of(net)
    assert scorer is not None
    return net, scorer


def run(tmp_path, most: int, **net: str) -> tuple[dict[str, torch.Tensor], list[int], dict[str, Any]]:
    """Scores by id, how many pictures each pass had, and what is counted."""
    made, scorer = make(tmp_path, **net)
    passes, real = [], made.run

    def counting(wanted, inputs, drawn=None):
        passes.append(len(next(iter(drawn.values()))))
        return real(wanted, inputs, drawn)

    made.run = counting
    found = {}
    with torch.inference_mode():
        for batch, values in together.run(made, scorer.blobs, range(len(SIZES)), 4 * most, most):
            found[batch.id] = values[scorer.pairs[0].score]
            scorer.see(values)
    return found, passes, scorer.scores()


@pytest.mark.parametrize(("most", "passes"), [(1, [1] * 7), (150, [2, 2, 2, 1]), (10000, [4, 2, 1])])
def test_those_of_one_size_run_together(tmp_path, most: int, passes: list[int]) -> None:
    alone, _, counted = run(tmp_path, 0)
    found, made, scores = run(tmp_path, most)
    assert made == passes and found.keys() == alone.keys() and scores == counted
    for name, value in found.items():
        torch.testing.assert_close(value, alone[name])


@pytest.mark.parametrize("inner", [RESHAPED, NORMED])
def test_a_net_that_mixes_pictures_gets_them_one_by_one(tmp_path, inner: str) -> None:
    alone, _, counted = run(tmp_path, 0, inner=inner, last="flat")
    found, _, scores = run(tmp_path, 10000, inner=inner, last="flat")
    assert scores == counted
    for name, value in found.items():
        torch.testing.assert_close(value, alone[name])
