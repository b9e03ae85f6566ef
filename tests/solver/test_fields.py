"""Every field of a solver changes the run, or is one of the few that are accepted because something else decides."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from solver_nets import NET, everything, solver, write

from netspec import schema
from netspec.solver import Solver

EXTRA = """
layer { name: "more" type: "Reduction" bottom: "score" top: "more" include { stage: "more" } }
"""
BASE = {"momentum": 0.9, "weight_decay": 0.01, "max_iter": 4, "display": 2, "test_iter": 1, "test_interval": 2}
ADAPTIVE = {"momentum": 0, "base_lr": 0.01}
CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "net": ({}, '"other.prototxt"'),
    "train_state": ({}, '{ stage: "more" }'),
    "test_state": ({}, '{ stage: "more" }'),
    "test_iter": ({}, 2),
    "test_interval": ({}, 1),
    "test_compute_loss": ({}, "true"),
    "test_initialization": ({}, "false"),
    "base_lr": ({}, 0.01),
    "display": ({}, 1),
    "average_loss": ({}, 3),
    "max_iter": ({}, 5),
    "iter_size": ({}, 2),
    "lr_policy": ({"gamma": 0.5}, '"exp"'),
    "gamma": ({"lr_policy": '"exp"', "gamma": 0.5}, 0.9),
    "power": ({"lr_policy": '"inv"', "gamma": 0.5, "power": 1}, 2),
    "stepsize": ({"lr_policy": '"step"', "gamma": 0.5, "stepsize": 1}, 2),
    "stepvalue": ({"lr_policy": '"multistep"', "gamma": 0.5, "stepvalue": 1}, 2),
    "momentum": ({}, 0.5),
    "weight_decay": ({}, 0.1),
    "regularization_type": ({}, '"L1"'),
    "clip_gradients": ({}, 0.01),
    "snapshot": ({}, 2),
    "snapshot_prefix": ({}, '"elsewhere"'),
    "snapshot_diff": ({}, "true"),
    "snapshot_format": ({}, "HDF5"),
    "snapshot_after_train": ({}, "false"),
    "random_seed": ({}, 6),
    "type": ({}, '"Nesterov"'),
    "solver_type": ({}, "NESTEROV"),
    "delta": ({"type": '"AdaGrad"', **ADAPTIVE}, 0.1),
    "rms_decay": ({"type": '"RMSProp"', **ADAPTIVE}, 0.5),
    "momentum2": ({"type": '"Adam"'}, 0.5),
    "debug_info": ({}, "true"),
    "weights": ({}, '"start.caffemodel"'),
}
NETS = {
    "net_param": ({"net": None}, f"{{ {NET + EXTRA} }}"),
    "train_net_param": ({"net": None, "test_net": '"net.prototxt"'}, f"{{ {NET + EXTRA} }}"),
    "train_net": ({"net": None, "test_net": '"net.prototxt"'}, '"net.prototxt"'),
    "test_net": ({}, '"net.prototxt"'),
    "test_net_param": ({}, f"{{ {NET + EXTRA} }}"),
}
ACCEPTED = {"solver_mode": "CPU", "device_id": 1, "layer_wise_reduce": "false", "eval_type": '"detection"'}
OF_DETECTIONS = ("ap_version", "show_per_class_result")
"""What test_detections.py checks."""


def fingerprint(folder: Path, caplog: Any, **fields: Any) -> tuple[Any, ...]:
    """What a run says (but for times), its files and their sizes, weights and history."""
    folder.mkdir()
    caplog.clear()
    net = fields.pop("net", '"net.prototxt"')
    path = Path(write(folder, NET + EXTRA, **{**BASE, "snapshot_prefix": '"snap"', **fields}))
    line = f"net: {net}\n" if net else ""
    path.write_text(path.read_text().replace('net: "net.prototxt"\n', line, 1))
    s = Solver(path)
    s.solve()
    said = [re.sub(r" \(.* iters\)", "", r.getMessage()) for r in caplog.records if r.levelno == logging.INFO]
    files = sorted((str(p), p.stat().st_size) for p in Path().glob("*_iter_*"))
    for path, _ in files:
        Path(path).unlink()
    return said, files, {name: value.tolist() for name, value in everything(s).items()}


@pytest.fixture
def here(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    return tmp_path


def test_every_field_is_known():
    known = {*CHANGES, *NETS, *ACCEPTED, *OF_DETECTIONS}
    assert known == set(schema.SolverParameter.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changes_the_run(field, here, caplog):
    from netspec import weights

    others, value = CHANGES[field]
    Path("other.prototxt").write_text(NET.replace("num_output: 6", "num_output: 7"))
    weights.write("start.caffemodel", solver(NET, random_seed=9).net.to_model())
    before = fingerprint(here / "a", caplog, **others)
    assert fingerprint(here / "b", caplog, **{**others, field: value}) != before


@pytest.mark.parametrize("field", NETS)
def test_ways_to_give_the_nets(field, here, caplog):
    others, value = NETS[field]
    before = fingerprint(here / "a", caplog)
    (here / "net.prototxt").write_text(NET + EXTRA)
    assert fingerprint(here / "b", caplog, **{**others, field: value})[2] == before[2]


@pytest.mark.parametrize("field", ACCEPTED)
def test_what_something_else_decides(field, here, caplog):
    before = fingerprint(here / "a", caplog)
    assert fingerprint(here / "b", caplog, **{field: ACCEPTED[field]}) == before
