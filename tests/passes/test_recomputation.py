"""Recomputation: the same values and gradients, whatever the net; layers that must run once do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import netspec
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec import text

SLIM = Path(__file__).parents[1] / "golden/nets/slim/voc-fcn8s/net.prototxt"
MIXED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 12 dim: 12 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "c0" type: "Convolution" bottom: "data" top: "c0"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r0" type: "ReLU" bottom: "c0" top: "c0" }
layer { name: "bn" type: "BatchNorm" bottom: "c0" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "c1" type: "Convolution" bottom: "bn" top: "c1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "drop" type: "Dropout" bottom: "c1" top: "c1" dropout_param { dropout_ratio: 0.4 } }
layer { name: "sum" type: "Eltwise" bottom: "c1" bottom: "bn" top: "sum" }
layer { name: "r2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "cat" type: "Concat" bottom: "pool" bottom: "pool" top: "cat" }
layer { name: "drop2" type: "Dropout" bottom: "cat" top: "cat" dropout_param { dropout_ratio: 0.5 } }
layer { name: "fc" type: "InnerProduct" bottom: "cat" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


INTERLEAVED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 3 pad: 1 } }
layer { name: "da" type: "Dropout" bottom: "a" top: "a" }
layer { name: "db" type: "Dropout" bottom: "b" top: "b" }
layer { name: "rc" type: "ReLU" bottom: "c" top: "c" }
layer { name: "cat" type: "Concat" bottom: "a" bottom: "b" bottom: "c" bottom: "p" top: "cat" }
layer { name: "fc" type: "InnerProduct" bottom: "cat" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def interleaved(context: Context) -> Net:
    """Layers in place stand far behind the layers whose tops they write."""
    return Net(lower(text.parse(INTERLEAVED, "net.prototxt"), "TRAIN"), context)


def mixed(context: Context) -> Net:
    return Net(lower(text.parse(MIXED, "net.prototxt"), "TRAIN"), context)


def slim(context: Context) -> Net:
    return netspec.load(SLIM, phase="TRAIN", context=context, shapes={"data": (1, 3, 60, 71), "label": (1, 1, 60, 71)})


def inputs(net: Net) -> dict[str, Tensor]:
    shapes = {b.name: net.blob_shapes[b] for b in net.graph.inputs}
    return {"data": torch.randn(shapes["data"]) * 10, "label": torch.randint(0, 4, shapes["label"]).float()}


def trained(net: Net, given: dict[str, Tensor], passes: int = 2) -> dict[str, Tensor]:
    """Losses and gradients after some passes, and what the net holds then."""
    torch.manual_seed(3)
    out = {}
    for i in range(passes):
        loss, _ = net.loss(given)
        loss.backward()
        out[f"loss{i}"] = loss.value
    out |= {f"d {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return out | {name: p.detach().clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("make", [mixed, interleaved, slim])
def test_values_and_gradients_are_the_same(make) -> None:
    plain, again = make(Context()), make(Context(recompute=True))
    again.load_state_dict(plain.state_dict())
    given = inputs(plain)
    want, got = trained(plain, given), trained(again, given)
    assert want.keys() == got.keys() and any(name.startswith("d ") for name in want)
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=1e-6, atol=1e-9)


def kept_bytes(net: Net, given: dict[str, Tensor]) -> int:
    """What a pass keeps for backward besides parameters, each memory counted once."""
    seen: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def pack(x: Tensor) -> Tensor:
        seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        kept = net.loss(given)
    del kept
    return sum(n for at, n in seen.items() if at not in own)


@pytest.mark.parametrize("make", [mixed, slim])
def test_less_is_kept(make) -> None:
    plain, again = make(Context()), make(Context(recompute=True))
    given = inputs(plain)
    assert kept_bytes(again, given) < 0.9 * kept_bytes(plain, given)


def test_layers_that_must_run_once_are_left_out() -> None:
    net = mixed(Context(recompute=True))
    course = net.course(tuple(net.graph.outputs))
    again = {net.graph.layers[n].name for stretch in course.stretches if stretch.again for n, _ in stretch.steps}
    once = {net.graph.layers[n].name for stretch in course.stretches if not stretch.again for n, _ in stretch.steps}
    assert {"data", "label", "bn", "loss"} <= once and {"c1", "pool", "fc"} <= again


@pytest.mark.parametrize("make", [mixed, interleaved])
def test_a_stretch_overwrites_only_what_it_has_made(make) -> None:
    net = make(Context(recompute=True))
    for stretch in net.course(tuple(net.graph.outputs)).stretches:
        made = set()
        for step in (net.steps[n] for n, _ in stretch.steps):
            assert not (stretch.again and step.layer.overwrite) or step.spec.bottoms[0] in made
            made.update(step.spec.tops)
