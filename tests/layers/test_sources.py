"""DummyData, Parameter, Python: layers without bottoms."""

from __future__ import annotations

import pytest
import torch
from one_layer import net, refused

from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.layers import python as python_layer
from netspec.net import Net
from netspec.spec.text import parse

LEGACY = "num: 1 channels: 2 height: 3 width: 4"
BAD = [
    ("", 1, "0 shapes for 1 tops; give one, or one per top"),
    ("shape {} shape {}", 3, "2 shapes for 3 tops; give one, or one per top"),
    (f"shape {{}} {LEGACY}", 1, "give shape or num, channels, height, width, not both"),
    ("num: 1 channels: 2 height: 3", 1, "width is given 0 times for 1 top"),
    (f"{LEGACY} num: 2", 3, "num is given 2 times for 3 tops; give one, or one per top"),
    ("shape {} data_filler {} data_filler {}", 3, "2 data_filler for 3 tops; give one, or one per top"),
]


@pytest.mark.parametrize(("settings", "tops", "message"), BAD)
def test_dummy_data_refused(settings, tops, message):
    refused("DummyData", f"dummy_data_param {{ {settings} }}", [], tops, message)


def test_dummy_data_draws_anew_unless_constant():
    fillers = 'data_filler { type: "constant" value: 3 } data_filler { type: "gaussian" }'
    built = net("DummyData", f"dummy_data_param {{ {fillers} shape {{ dim: [2, 3] }} }}", [], 2)
    first, second = built(), built()
    assert first["t0"].tolist() == [[3.0] * 3] * 2
    assert first["t0"].data_ptr() == second["t0"].data_ptr()
    assert not torch.equal(first["t1"], second["t1"])


def test_dummy_data_shapes():
    built = net("DummyData", f"dummy_data_param {{ {LEGACY} num: 7 }}", [], 2)
    assert [tuple(t.shape) for t in built().values()] == [(1, 2, 3, 4), (7, 2, 3, 4)]
    assert all((t == 0).all() for t in built().values())


def test_an_unknown_filler_is_named():
    built = net("DummyData", 'dummy_data_param { shape {} data_filler { type: "gausian" } }', [])
    with pytest.raises(SpecError, match=r"'one' \(DummyData\): unknown filler type 'gausian', did you mean 'gaussian'"):
        built()


def test_parameter():
    built = net("Parameter", "parameter_param { shape { dim: [2, 3] } }", [])
    top = built()["t0"]
    assert top.tolist() == [[0.0] * 3] * 2
    top.sum().backward()
    assert built.get_parameter("one.value").grad.tolist() == [[1.0] * 3] * 2
    assert net("Parameter", "", [])()["t0"].shape == ()


def python_net(module: str, top: str = 'top: "data" top: "label"', **context) -> Net:
    param_str = "{'voc_dir': 'nowhere', 'split': 'val', 'mean': (1, 2, 3)}"
    param = f'python_param {{ module: "{module}" layer: "VOCSegDataLayer" param_str: "{param_str}" }}'
    source = f'layer {{ name: "d" type: "Python" {top}\n {param} }}'
    return Net(lower(parse(source, "net.prototxt")), Context(**context))


def test_published_layers_read_the_sample():
    built = python_net("voc_layers", sample=True)
    assert [name for name, _ in built.data_layers()] == ["d"]
    blobs = built()
    assert blobs["data"].shape[:2] == (1, 3) and blobs["label"].shape[:2] == (1, 1)


def test_published_layers_miss_their_data():
    with pytest.raises(SpecError, match=r"net.prototxt:1:1: .*'d' \(Python\): .*PASCAL VOC is missing"):
        python_net("voc_layers")
    with pytest.raises(SpecError, match="has 1 bottom and takes none"):
        source = 'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape {} } } layer { type: "Python" '
        source += 'bottom: "x" top: "y" python_param { module: "voc_layers" layer: "VOCSegDataLayer" } }'
        Net(lower(parse(source)))


def test_other_code_needs_leave(monkeypatch):
    monkeypatch.setattr(python_layer, "python_layers", [])
    with pytest.raises(SpecError, match=r"prototxt:2:\d+: .*'mine.VOCSegDataLayer' is Python code.*`--allow-python`"):
        python_net("mine")
    with pytest.raises(SpecError, match="no Python layer 'mine.VOCSegDataLayer' is known here|no module 'mine' is on"):
        python_net("mine", allow_python=True)


def test_a_hook_brings_further_layers(monkeypatch):
    class Ones(python_layer.Python, abstract=True):
        def shapes(self, bottoms):
            return [(1,)]

        def forward(self, bottoms, params):
            return [torch.ones(1)]

    monkeypatch.setattr(python_layer, "python_layers", [lambda proto, context: None, lambda proto, context: Ones])
    assert python_net("mine", 'top: "one"')()["one"].tolist() == [1.0]
