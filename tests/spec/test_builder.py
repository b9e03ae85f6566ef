"""Nets written in Python."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from netspec import schema
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.spec import text
from netspec.spec.builder import Builder, settings_fields


def small() -> Builder:
    net = Builder("small", force_backward=True)
    net.input("in", data=(1, 3, 8, 8), label=[1])
    return net


def test_a_net_reads_as_if_from_a_file() -> None:
    net = small()
    x = net.layer(
        "Convolution",
        "conv",
        "data",
        num_output=4,
        kernel_size=[3, 5],
        param=[{"lr_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
        weight_filler={"type": "msra", "variance_norm": "FAN_OUT"},
    )
    assert net.layer("ReLU", "relu", x, in_place=True) == "conv"
    x = net.layer("Pooling", "pool", x, pool="AVE", kernel_size=2, stride=2)
    net.layer("SoftmaxWithLoss", "loss", x, "label", ignore_label=255, normalize=False, loss_weight=0.5, axis=1)
    want = """
      name: "small" force_backward: true
      layer { name: "in" type: "Input" top: "data" top: "label"
              input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } shape { dim: 1 } } }
      layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
              param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
              convolution_param { num_output: 4 kernel_size: 3 kernel_size: 5
                                  weight_filler { type: "msra" variance_norm: FAN_OUT } } }
      layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
      layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
              pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" loss_weight: 0.5
              loss_param { ignore_label: 255 normalize: false } softmax_param { axis: 1 } }"""
    assert net.message == text.parse(want).message
    assert text.parse(str(net)).message == net.message


def test_document_lowers_at_any_moment() -> None:
    net = small()
    net.layer("ReLU", "relu", "data", in_place=True)
    graph = lower(net.document())
    assert [str(blob) for blob in graph.outputs] == ["data", "label"]
    assert graph.last()["data"].version == 1
    assert graph.file == "<small>"


def test_tops() -> None:
    net = small()
    assert net.layer("Slice", "s", "data", tops=["a", "b"], slice_point=1) == ("a", "b")
    assert net.layer("Softmax", "p", "a", tops=["q"]) == ("q",)
    assert net.layer("Silence", "quiet", "b", tops=[]) == ()
    assert net.blobs == {"data": "in", "label": "in", "a": "s", "b": "s", "q": "p"}


def test_python_layer_carries_a_literal() -> None:
    net = Builder()
    tops = net.python("data", ["data", "label"], "voc_layers.VOCSegDataLayer", seed=1, mean=(1.5, 2, 3), tops=["x"])
    param = net.message.layer[0].python_param
    assert tops == ("data", "label")
    assert (param.module, param.layer) == ("voc_layers", "VOCSegDataLayer")
    assert param.param_str == "{'seed': 1, 'mean': (1.5, 2, 3), 'tops': ['x']}"


def test_settings_by_field_name_and_both_forms_together() -> None:
    net = small()
    net.layer("Pooling", "a", "data", pooling_param={"kernel_size": 2}, stride=3)
    net.layer("Pooling", "b", "data", pooling_param=schema.PoolingParameter(kernel_size=2), stride=3, pad=None)
    net.layer("Pooling", "c", "data", kernel_size=2, stride=3)
    a, b, c = (layer.pooling_param for layer in net.message.layer[1:])
    assert a == b == c


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("InnerProduct", ["inner_product_param"]),
        ("LRN", ["lrn_param"]),
        ("Deconvolution", ["convolution_param"]),
        ("HDF5Data", ["hdf5_data_param", "transform_param"]),
        ("Data", ["data_param", "transform_param"]),
        ("SoftmaxWithLoss", ["softmax_param", "loss_param"]),
        ("InfogainLoss", ["infogain_loss_param", "loss_param"]),
        ("LSTM", ["recurrent_param"]),
        ("AbsVal", []),
    ],
)
def test_where_settings_stand(type: str, fields: list[str]) -> None:
    assert settings_fields(type) == fields


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernal_size": 3}, "no setting 'kernal_size', did you mean 'kernel_size'?"),
        ({"num_output": 3}, "no setting 'num_output'"),
        ({"name": "x"}, "no setting 'name'"),
        ({"pool": "MAXX"}, "field 'pool': PoolMethod has no value MAXX, did you mean 'MAX'?"),
        ({"kernel_size": "three"}, "field 'kernel_size': "),
        ({"kernel_size": -1}, "field 'kernel_size': "),
        ({"pooling_param": 3}, "field 'pooling_param': expected a dict, found 3"),
        ({"param": [{"lr_mul": 1}]}, "ParamSpec has no field 'lr_mul', did you mean 'lr_mult'?"),
        ({"tops": ["x"], "in_place": True}, "in_place wants a bottom"),
    ],
)
def test_misfits_name_the_layer(settings: dict[str, Any], message: str) -> None:
    net = small()
    with pytest.raises(SpecError) as e:
        net.layer("Pooling", "pool", "data", **settings)
    assert e.value.message.startswith(f"layer 'pool' (Pooling): {message}")
    assert len(net.message.layer) == 1


def test_unknown_bottom_and_net_field() -> None:
    with pytest.raises(SpecError, match="makes its bottom 'datta', did you mean 'data'"):
        small().layer("ReLU", "relu", "datta")
    with pytest.raises(SpecError, match="NetParameter has no field 'force_backwards', did you mean 'force_backward'"):
        Builder("x", force_backwards=True)


def test_needs_no_torch() -> None:
    code = "import sys, netspec.spec.builder as b; b.Builder('x'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
