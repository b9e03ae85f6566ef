"""A run goes on bit for bit in another process, whatever brings its data and whatever its layers carry along."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from solver_nets import everything, same
from test_data_layers import SOURCES, TOPS, folder

from netspec.errors import SpecError
from netspec.layers import Context
from netspec.pycaffe import attributes
from netspec.solver import Solver

__all__ = ["folder"]
HEAD = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1e-3 reduction_param { operation: SUMSQ } }
"""
CARRIED = """
layer { name: "data" type: "DummyData" top: "x" top: "cont" dummy_data_param { shape { dim: 3 dim: 2 dim: 4 }
  shape { dim: 3 dim: 2 } data_filler { type: "uniform" } data_filler { type: "constant" value: 1 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "y"
  recurrent_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "rnn" type: "RNN" bottom: "y" bottom: "cont" top: "data"
  recurrent_param { num_output: 4 weight_filler { type: "xavier" } } }
"""
USERS = """
import random
import numpy as np
import netspec.pycaffe as caffe

class Reader:
    def __init__(self):
        self.order, self.at, self.own, self.made = np.random.permutation(5), 0, random.Random(), np.random.default_rng()
        self.legacy, self.names = np.random.RandomState(), {"a": (1, 2.5), 3: [None, True]}
        self.back = self

    def next(self):
        if self.at == len(self.order):
            self.at, self.order = 0, np.random.permutation(5)
            random.shuffle(self.names[3])
        self.at += 1
        noise = self.own.random() + self.made.random() + self.legacy.rand() + random.random()
        return self.order[self.at - 1] + noise + bool(self.names[3][0])

class Data(caffe.Layer):
    def setup(self, bottom, top):
        self.reader = Reader()

    def reshape(self, bottom, top):
        top[0].reshape(2, 4)

    def forward(self, bottom, top):
        top[0].data[...] = self.reader.next()

class Said(Data):
    def state(self):
        return [self.reader.at, self.reader.order.tolist(), self.count]

    def restore(self, state):
        self.reader.at, order, self.count = state
        self.reader.order = np.array(order)

    def forward(self, bottom, top):
        self.count = getattr(self, "count", 0) + 1
        top[0].data[...] = self.reader.order[self.count % 5]
"""
PYTHON = 'layer {{ name: "data" type: "Python" top: "data" python_param {{ module: "users" layer: "{}" }} }}'
QUIET = 'layer { name: "quiet" type: "Silence" bottom: "label" }'
VOC = PYTHON.format("VOCSegDataLayer").replace("users", "voc_layers").replace('top: "data"', TOPS)
NETS = {
    **{name: f'layer {{ name: "d" type: "{name}" {TOPS} {p} }}' + QUIET for name, p in SOURCES.items()},
    "recurrent": CARRIED,
    "published": VOC.replace(
        "layer: ", """param_str: "{'split': 'train', 'voc_dir': 'x', 'mean': (0, 0, 0)}" layer: """
    )
    + QUIET
    + 'layer { name: "pool" type: "Pooling" bottom: "data" top: "p" pooling_param { global_pooling: true } }',
    "attributes": PYTHON.format("Data"),
    "own words": PYTHON.format("Said"),
}
CHILD = """
import sys
sys.path[:0] = {path!r}
import test_resume_layers as t
for name in t.NETS:
    s = t.make(name, 2)
    s.restore(f"{{name}}_iter_4.solverstate")
    s.step(4)
    t.np.savez(f"{{name}}.npz", **t.everything(s))
"""


def make(name: str, seed: int) -> Solver:
    """The solver of a net, its layers' own generators started from `seed`."""
    random.seed(seed)
    np.random.seed(seed)
    context = Context(sample=name == "published", allow_python=True, folder=Path())
    Path(f"{name}.prototxt").write_text(NETS[name] + HEAD.replace('"data"', '"p"' if name == "published" else '"data"'))
    Path("solver.prototxt").write_text(
        f'net: "{name}.prototxt" base_lr: 1e-3 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "{name}"'
    )
    return Solver("solver.prototxt", context=context, seed=seed)


def test_another_process_goes_on(folder, monkeypatch):
    from netspec.pycaffe.layer import register

    register()
    Path("users.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(folder))
    ends = {}
    for name in NETS:
        s = make(name, 1)
        s.step(4)
        s.snapshot()
        s.step(4)
        ends[name] = everything(s)
    tests = Path(__file__).parents[1]
    code = CHILD.format(path=[str(folder), str(tests), str(tests / "layers"), str(tests / "solver")])
    code = "from netspec.pycaffe.layer import register; register()" + code
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for name, want in ends.items():
        with np.load(f"{name}.npz") as got:
            same(dict(got), want)


def test_what_a_snapshot_does_not_know_starts_anew_and_damage_is_refused(folder, caplog):
    make("Data", 1)
    s = make("recurrent", 1)
    s.step(2)
    state = s.snapshot()
    companion = Path("recurrent_2.netspec")
    extra = json.loads(companion.read_text())
    assert set(extra["layers"][0][0]) == {"lstm", "rnn"}
    del extra["layers"][0][0]["rnn"]
    companion.write_text(json.dumps(extra))
    make("recurrent", 2).restore(state)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "the snapshot says nothing of the place of layer 'rnn': it starts anew"
    ]
    for wrong in (3, "x", [["a"]], [[1], [[2]], None]):
        extra["layers"][0][0]["lstm"] = wrong
        companion.write_text(json.dumps(extra))
        with pytest.raises(SpecError, match="saved state of a recurrent layer"):
            make("recurrent", 2).restore(state)
    extra["layers"] = [extra["layers"]]
    companion.write_text(json.dumps(extra))
    with pytest.raises(SpecError, match="not a companion file"):
        make("recurrent", 2).restore(state)


def test_attributes_that_are_kept():
    class Owner:
        pass

    owner, inner = Owner(), Owner()
    owner.data, owner.module, owner.function, owner.inner = np.zeros((1 << 20) + 1), json, len, inner
    owner.text, owner.inner.owner, owner.inner.row = np.array(["a"]), owner, (np.int64(3), np.float32(0.5), None)
    found = json.loads(json.dumps(attributes.kept(owner)))
    assert found == {"inner": {"object": {"row": {"tuple": [3, 0.5, None]}}}}
    other = Owner()
    other.inner = Owner()
    other.inner.row = ()
    attributes.restore(other, {**found, "made": 1, "__class__": 2})
    assert other.inner.row == (3, 0.5, None)
    assert vars(other).keys() == {"inner"}
