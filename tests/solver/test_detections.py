"""Mean average precision over the rows of DetectionEvaluate."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from netspec.errors import SpecError
from netspec.solver import detections, settings
from netspec.solver.solver import Solver
from netspec.spec.text import parse

RIGHT, WRONG, NEITHER = (1, 0), (0, 1), (0, 0)


def batch(boxes: dict[int, int], found: list[tuple[int, float, tuple[int, int]]]) -> np.ndarray:
    """A batch's rows: the numbers of true boxes of classes, then detections (class, score, mark)."""
    counts = [[-1, label, number, -1, -1] for label, number in boxes.items()]
    rows = [[0, label, score, *mark] for label, score, mark in found]
    return np.array([*counts, *rows], float)[None, None]


# Right, wrong, right, wrong, right of 4 boxes: precision 1, 1/2, 2/3, 1/2, 3/5 at recall 1/4, 1/4, 1/2, 1/2, 3/4.
MIXED = [(1, 0.9, RIGHT), (1, 0.8, WRONG), (1, 0.7, RIGHT), (1, 0.6, WRONG), (1, 0.5, RIGHT), (1, 0.95, NEITHER)]
AREAS = {
    "Integral": (1 + 2 / 3 + 3 / 5) / 4,
    "MaxIntegral": (1 + 2 / 3 + 3 / 5) / 4,
    "11point": (3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11,
}


@pytest.mark.parametrize("version", detections.VERSIONS)
def test_average_precision(version: str) -> None:
    assert detections.precisions([batch({1: 4}, MIXED)], version)[1] == pytest.approx(AREAS[version])


def test_max_integral_looks_ahead() -> None:
    """Wrong, right, right: of precision 0, 1/2, 2/3 the last counts for both steps of recall."""
    rows = [batch({1: 2}, [(1, 0.9, WRONG), (1, 0.8, RIGHT), (1, 0.7, RIGHT)])]
    assert detections.precisions(rows, "Integral")[1] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert detections.precisions(rows, "MaxIntegral")[1] == pytest.approx(2 / 3)


def test_batches_are_one_ranking_and_absent_classes_count() -> None:
    split = [batch({1: 3, 2: 0}, MIXED[:2]), batch({1: 1, 2: 5}, MIXED[2:])]
    found = detections.precisions(split)
    assert found == {1: pytest.approx(AREAS["Integral"]), 2: 0.0}
    assert detections.mean(found) == pytest.approx(AREAS["Integral"] / 2)


NET = """layer { name: "data" type: "Input" top: "found" top: "truth" input_param {
    shape { dim: 1 dim: 1 dim: 2 dim: 7 } shape { dim: 1 dim: 1 dim: 2 dim: 8 } } }
  layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "detection_eval"
    include { phase: TEST } detection_evaluate_param { num_classes: 2 } }
  layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 1 } } include { phase: TRAIN } }
  layer { name: "loss" type: "Reduction" bottom: "w" top: "loss" loss_weight: 1 include { phase: TRAIN } }
  layer { name: "rest" type: "Silence" bottom: "found" bottom: "truth" include { phase: TRAIN } }"""
SOLVER = f"net_param {{ {NET} }} base_lr: 1 lr_policy: 'fixed' max_iter: 1 test_iter: 2 test_interval: 1 %s"
BOX = [0.1, 0.1, 0.4, 0.5]


def test_a_solver_tells_the_mean_average_precision(caplog: pytest.LogCaptureFixture) -> None:
    """Two batches, of one and of two detections."""
    fed = iter([[[0, 1, 0.9, *BOX]], [[0, 1, 0.8, 0.6, 0.6, 0.9, 0.9], [0, 1, 0.7, *BOX]]])

    def feed(number: int) -> dict[str, torch.Tensor]:
        truth = torch.tensor([[0, 1, 0, *BOX, 0]])
        return {"found": torch.tensor(next(fed))[None, None], "truth": truth[None, None]}

    text = SOLVER % 'eval_type: "detection" ap_version: "Integral" show_per_class_result: true'
    solver = Solver(parse(text, "solver", "SolverParameter"))
    solver.test_feed = feed
    with caplog.at_level(logging.INFO, "netspec"):
        (record,) = solver.test()
    assert record["outputs"]["detection_eval"] == pytest.approx((1 + 2 / 3) / 2)
    assert "class1: 0.833333" in caplog.messages
    assert "    Test net output #0: detection_eval = 0.833333" in caplog.messages


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ('ap_version: "12point"', "unknown ap_version '12point', did you mean '11point'?"),
        ('eval_type: "segmentation"', "unknown eval_type 'segmentation'"),
    ],
)
def test_unknown_ways_to_evaluate(field: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        settings.check(parse(SOLVER % f"\n{field}", "solver", "SolverParameter"))
    assert message in caught.value.message
    assert caught.value.loc is not None and caught.value.loc.line > 1
