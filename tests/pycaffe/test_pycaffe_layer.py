"""Layers written in Python for Caffe, inside nets."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from texts import inner, layer, source

import netspec
import netspec.pycaffe as caffe
from netspec.errors import SpecError
from netspec.pycaffe import mode

CODE = """
import numpy as np
import netspec.pycaffe as caffe

class Twice(caffe.Layer):
    def setup(self, bottom, top):
        self.calls = [("setup", self.param_str, self.phase)]
    def reshape(self, bottom, top):
        self.calls.append("reshape")
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        self.calls.append("forward")
        top[0].data[...] = 2 * bottom[0].data
    def backward(self, top, propagate_down, bottom):
        self.calls.append(("backward", propagate_down))
        if propagate_down[0]:
            bottom[0].diff[...] = 2 * top[0].diff

class Distance(caffe.Layer):
    def reshape(self, bottom, top):
        self.diff = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)
    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = (self.diff ** 2).sum() / bottom[0].num / 2
    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff / bottom[i].num

class Weighted(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].shape[1])
        self.blobs[0].data[...] = 3
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data
    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(0)
        bottom[0].diff[...] = top[0].diff * self.blobs[0].data

class Counter(caffe.Layer):
    at = 0
    def reshape(self, bottom, top):
        top[0].reshape(1, self.at + 1)
    def forward(self, bottom, top):
        top[0].data[...] = self.at
        self.at += 1

class Broken(caffe.Layer):
    def reshape(self, bottom, top):
        raise RuntimeError("as the user wrote it")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module, on the Python path."""
    (tmp_path / "code_of_mine.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "code_of_mine", raising=False)
    return "code_of_mine"


def python(cls: str, name: str, bottom: str = "", more: str = "", module: str = "code_of_mine", top: str = "") -> str:
    settings = f'python_param {{ module: "{module}" layer: "{cls}" param_str: "{{1: 2}}" }} {more}'
    return layer("Python", name, bottom, top, settings)


def test_setup_reshape_forward_backward(code, net):
    n = net("force_backward: true " + source("data", 2, 3) + python("Twice", "y", "data"))
    user = n.core.steps[1].layer.user
    assert user.calls == [("setup", "{1: 2}", caffe.TEST), "reshape"]
    x = np.random.randn(2, 3).astype(np.float32)
    assert np.array_equal(n.forward(data=x)["y"], 2 * x)
    back = n.backward(y=x)["data"]
    np.testing.assert_array_equal(back, 2 * x)
    assert user.calls[2:] == ["reshape", "forward", ("backward", [True])]
    n.blobs["data"].reshape(5, 3)
    n.reshape()
    assert n.blobs["y"].shape == (5, 3)


def test_training_through_python_layers_is_that_of_built_in_ones(code, make):
    own = source("data", 4, 3) + source("label", 4, 2) + inner("a", "data", 5) + python("Twice", "b", "a")
    own += inner("c", "b", 2) + python("Distance", "loss", "c label", "loss_weight: 1")
    built_in = own.replace(python("Twice", "b", "a"), layer("Power", "b", "a", "", "power_param { scale: 2 }"))
    built_in = built_in.replace(
        python("Distance", "loss", "c label", "loss_weight: 1"), layer("EuclideanLoss", "loss", "c label")
    )
    weights = []
    for text in (own, built_in):
        make(text)
        solver = caffe.get_solver(
            make('train_net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 random_seed: 3', "solver")
        )
        rng = np.random.RandomState(0)
        for _ in range(5):
            solver.net.blobs["data"].data[...] = rng.randn(4, 3)
            solver.net.blobs["label"].data[...] = rng.randn(4, 2)
            solver.step(1)
        weights.append([b.data.copy() for blobs in solver.net.params.values() for b in blobs])
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_parameter_blobs_learn_and_are_saved(code, make, tmp_path):
    make(
        source("data", 4, 3)
        + source("label", 4, 3)
        + python("Weighted", "w", "data")
        + layer("EuclideanLoss", "l", "w label")
    )
    solver = caffe.get_solver(make('train_net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"', "solver"))
    assert solver.net.params["w"][0].data.tolist() == [3, 3, 3]
    solver.net.blobs["data"].data[...] = 1
    solver.net.blobs["label"].data[...] = 1
    solver.step(1)
    np.testing.assert_allclose(solver.net.params["w"][0].data, [2.8] * 3, rtol=1e-6)
    solver.net.save(str(tmp_path / "w.caffemodel"))
    again = caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel"), caffe.TEST)
    np.testing.assert_allclose(again.params["w"][0].data, [2.8] * 3, rtol=1e-6)


def test_data_layers_may_change_shape_every_time(code, net):
    n = net(python("Counter", "data") + layer("ReLU", "y", "data"))
    shapes = [tuple(n.forward()["y"].shape) for _ in range(3)]
    assert shapes == [(1, 1), (1, 2), (1, 3)]
    assert (n.blobs["y"].data == 2).all()


def test_results_are_not_written_over(code, make):
    """Two runs of a net as a module keep their values apart."""
    from netspec.layers.base import Context

    file = make(source("data", 2, 3) + python("Twice", "y", "data"))
    n = netspec.load(file, context=Context(allow_python=True))
    x = torch.randn(2, 3, requires_grad=True)
    first, second = n(data=x)["y"], n(data=x + 1)["y"]
    assert torch.equal(first, 2 * x) and torch.equal(second, 2 * x + 2)


def test_layers_of_a_net_are_the_scripts_own_objects(code, make, tmp_path):
    """So that a script hands its data layer what it needs; blobs are the net's."""
    file = make(source("data", 2, 3) + python("Weighted", "w", "data") + python("Counter", "c"))
    n, other = caffe.Net(file, caffe.TEST), caffe.Net(file, caffe.TEST)
    n.layers[2].at = 4
    assert n.layers[2].at == 4 and n.layers[2].type == "Python" and n.layers[2].param_str == "{1: 2}"
    assert n.forward()["c"].shape == (1, 5) and n.layers[2].at == 5 and n.layers[2].param_str_ == "{1: 2}"
    n.layers[1].blobs[0].data[...] = 7
    n.save(str(tmp_path / "w.caffemodel"))
    other.copy_from(str(tmp_path / "w.caffemodel"))
    assert (other.layer_dict["w"].blobs[0].data == 7).all() and other.layers[1].blobs[0] is other.params["w"][0]
    assert copy.copy(n.layers[2]).at == 5
    with pytest.raises(AttributeError, match="nothing"):
        _ = n.layers[1].nothing


OWN = """
import netspec.pycaffe as caffe

class VOCSegDataLayer(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1, 3, 2, 2)
        top[1].reshape(1, 1, 2, 2)
    def forward(self, bottom, top):
        top[0].data[...] = 42
"""


def test_a_module_of_the_published_name_is_the_users_own(tmp_path, monkeypatch, net):
    """Scripts that changed a published data layer get theirs; `--sample` still puts the sample in its place."""
    (tmp_path / "voc_layers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "voc_layers", raising=False)
    param = "{'split': 'val', 'voc_dir': 'x', 'mean': (1, 2, 3)}"
    text = layer(
        "Python",
        "data",
        "",
        "data label",
        f"""python_param {{ module: "voc_layers" layer: "VOCSegDataLayer"
        param_str: "{param}" }}""",
    )
    n = net(text)
    n.forward()
    assert (n.blobs["data"].data == 42).all()
    monkeypatch.setattr(mode, "_context", mode._context)
    mode.set_data(sample=True)
    n = net(text)
    n.forward()
    assert n.blobs["data"].shape[2] > 2


def test_in_place(code, net):
    n = net(
        "force_backward: true "
        + source("data", 2, 3)
        + layer("Power", "p", "data")
        + python("Twice", "y", "p", top="p")
    )
    n.forward(data=np.ones((2, 3)))
    assert (n.blobs["p"].data == 2).all() and (n.blobs["data"].data == 1).all()
    n.blobs["p"].diff[...] = 1
    n.backward()
    assert (n.blobs["data"].diff == 2).all()


@pytest.mark.parametrize(
    ("module", "cls", "message"),
    [
        ("not_there", "X", "no module 'not_there' is on the Python path"),
        ("code_of_mine", "Twise", "module 'code_of_mine' has no 'Twise', did you mean 'Twice'"),
    ],
)
def test_what_is_not_there(code, net, module, cls, message):
    with pytest.raises(SpecError, match=message):
        net(source("data", 1, 1) + python(cls, "y", "data", module=module))


def test_code_runs_only_where_it_is_allowed(code, make):
    file = make(source("data", 1, 1) + python("Twice", "y", "data"))
    with pytest.raises(SpecError, match="--allow-python"):
        netspec.load(file)
    assert "code_of_mine" not in sys.modules


def test_errors_of_the_users_code_pass_through(code, net):
    with pytest.raises(RuntimeError, match="as the user wrote it"):
        net(source("data", 1, 1) + python("Broken", "y", "data"))


def test_a_module_that_imports_caffe_gets_told_how(tmp_path, monkeypatch, net):
    (tmp_path / "for_caffe.py").write_text("import caffe\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match="netspec python"):
        net(source("data", 1, 1) + python("X", "y", "data", module="for_caffe"))


def test_overhead_is_the_users_numpy(code, net):
    """Bottoms are shown without a copy."""
    n = net(source("data", 2, 3) + python("Twice", "y", "data"))
    n.forward()
    user = n.core.steps[1].layer
    assert user.bottom[0].data.ctypes.data == n.blobs["data"].data.ctypes.data
