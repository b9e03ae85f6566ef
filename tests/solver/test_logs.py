"""Logs by Caffe and by netspec, read to the same rows that the runs had."""

from __future__ import annotations

import csv
import json
import math

import pytest
from golden_data import golden, golden_json, real_data

from netspec.errors import SpecError
from netspec.solver import logs

RUNS = [name for name, run in golden_json("files/log/log.json").items() if run["train"]]


def as_told(row: logs.Row) -> dict:
    """A row in the form of log.json."""
    outputs = []
    for name, values in row.outputs.items():
        weight = row.weights.get(name)
        outputs += [[name, v] if weight is None else [name, v, weight, pytest.approx(weight * v)] for v in values]
    return {"iter": row.iteration, "loss": row.loss, "outputs": outputs}


@pytest.mark.parametrize("form", ["log", "short_date_log"])
@pytest.mark.parametrize("name", RUNS)
def test_rows_of_caffes_logs(name, form):
    want = golden_json("files/log/log.json")[name]
    log = logs.read(golden("files/log") / want[form])
    rows = log.train[:-1] if log.final else log.train
    assert [{**as_told(r), "lr": r.lr} for r in rows] == want["train"]
    assert log.final is not None
    assert (log.final.iteration, log.final.loss) == (want["final"]["iter"], want["final"]["loss"])
    tests = [{**as_told(r), "net": net} for net, rows in log.tests.items() for r in rows]
    assert tests == want["test"]


@pytest.mark.parametrize("name", ["train", "resume"])
def test_rows_of_caffes_own_parser(name):
    folder = golden("files/log")
    log = logs.read(folder / f"{name}_short_date.log")
    for kind, rows in (("train", log.train[:-1]), ("test", log.tests[0])):
        with open(folder / f"{name}.parsed_{kind}.csv", newline="") as file:
            want = list(csv.DictReader(file))
        assert [r.iteration for r in rows] == [float(w["NumIters"]) for w in want]
        for i, (row, w) in enumerate(zip(rows, want, strict=True)):
            assert {k: v[0] for k, v in row.outputs.items()} == {k: float(w[k]) for k in row.outputs}
            if kind == "train":  # that parser gives a row the rate last printed before it
                assert rows[max(i - 1, 0)].lr == float(w["LearningRate"])


def test_an_old_log():
    log = logs.read(real_data() / "logs" / "caffe_train_cifar10_quick.log")
    rows = {row.iteration: row for row in log.train}
    assert (rows[0].loss, rows[100].loss, rows[300].loss) == (2.30245, 1.68744, 1.31646)
    assert rows[100].lr == 0.001
    assert [r.iteration for r in log.tests[0]] == sorted({r.iteration for r in log.tests[0]})
    assert all(0 <= r.outputs["accuracy"][0] <= 1 for r in log.tests[0])


LINES = """\
I1105 00:38:01.939831 2106102528 solver.cpp:191] Iteration 0, loss = 2.5
I1105 00:38:01.939852 2106102528 solver.cpp:206]     Train net output #0: a = 2 (* 0.5 = 1 loss)
I1105 00:38:01.939852 2106102528 solver.cpp:206]     Train net output #1: p = 0.25
I1105 00:38:01.939852 2106102528 solver.cpp:206]     Train net output #2: p = 0.75
I1105 00:38:01.940191 2106102528 solver.cpp:403] Iteration 0, lr = 1e-10
name: "Iteration 3, loss = 7"
I20231105 00:38:02.939831 210 solver.cpp:239] Iteration 10 (-nan iter/s, 0s/10 iters), loss = -nan
I20231105 00:38:02.940191 210 sgd_solver.cpp:112] Iteration 10, lr = 0.5
I20231105 00:38:02.940191 210 solver.cpp:347] Iteration 10, Testing net (#1)
I20231105 00:38:02.940191 210 solver.cpp:414]     Test net output #0: a = 3 (* 0.5 = 1.5 loss)
I20231105 00:38:02.940191 210 scoring.py:67]     Test net (#1) loss: pixel_acc = 0.5, mean_iu = nan, fw_iu = 1
I20231105 00:38:02.940191 210 sol"""


def test_lines_one_by_one():
    log = logs.parse(LINES.splitlines())
    first, second = log.train
    assert first == logs.Row(0, 2.5, 1e-10, {"a": [2.0], "p": [0.25, 0.75]}, {"a": 0.5})
    assert first.own_loss == 1
    assert second.iteration == 10
    assert math.isnan(second.loss)
    (test,) = log.tests[1]
    assert (test.loss, test.own_loss, test.scores["fw_iu"]) == (None, 1.5, 1.0)
    assert math.isnan(test.scores["mean_iu"])


def test_records_and_what_a_resumed_run_replaces():
    rows = [{"iteration": i, "loss": 2.0 * i, "smoothed_loss": 1.0 * i, "lr": 0.1} for i in (0, 10, 20, 30)]
    again = [{"iteration": i, "loss": None, "smoothed_loss": 5, "lr": 0.1} for i in (20, 25)]
    test = {"iteration": 20, "test_net": 0, "loss": 3, "outputs": {"a": 1, "b": [1, None]}, "mean_iu": 0.5}
    lines = [json.dumps(r) for r in (*rows, test)] + ['{"iteration": 35, "lo'] + [json.dumps(r) for r in (*again, test)]
    log = logs.parse(lines)
    assert [(r.iteration, r.loss) for r in log.train] == [(0, 0), (10, 10), (20, 5), (25, 5)]
    assert math.isnan(log.train[-1].own_loss)
    assert len(log.tests[0]) == 1
    assert log.tests[0][0].scores == {"mean_iu": 0.5}


@pytest.mark.parametrize(
    "line", ["{", '{"iteration": "x", "loss": 1}', "[1]", '{"loss": 1}', '{"iteration":1,"loss":{}}', ""]
)
def test_what_is_no_log(line, tmp_path):
    (tmp_path / "log.jsonl").write_text(line)
    with pytest.raises(SpecError, match="neither a log.jsonl nor a log of training"):
        logs.read(tmp_path)


def test_a_missing_log(tmp_path):
    with pytest.raises(SpecError, match="cannot read: No such file"):
        logs.read(tmp_path / "none.log")
