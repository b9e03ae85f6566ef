"""norm_folding: a frozen net gives what the net gave, and folds only what no name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import netspec
from netspec.frozen import freeze

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }\n'
CONV = """layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: 5 kernel_size: 3
  bias_term: {bias} weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 1 }} }} }}
"""
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }\n'
SCALE = 'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }\n'
FACTOR = 'layer { name: "s" type: "Scale" bottom: "c" top: "c" }\n'
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'


def load(body: str, no_pass: str = "") -> netspec.Net:
    Path("net.prototxt").write_text(INPUT + body)
    torch.manual_seed(3)
    net = netspec.load("net.prototxt", context=netspec.Context(no_pass=frozenset(no_pass.split())))
    for p in net.parameters():
        if p.ndim == 1:
            p.data.uniform_(0.5, 2)
    return net


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def folded(net: netspec.Net) -> list[str]:
    return [step.spec.name for step in net.steps if step.folded]


@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize(
    ("behind", "names"),
    [
        (NORM, ["n"]),
        (NORM + SCALE + RELU, ["n", "s", "r"]),
        (NORM + FACTOR, ["n", "s"]),
        (SCALE + NORM, ["s", "n"]),
        (RELU + NORM, ["r"]),
        (NORM.replace('top: "c"', 'top: "n"'), []),
        (NORM.replace("}", "batch_norm_param { use_global_stats: false } }"), []),
        (SCALE.replace("bias_term", "axis: 0 bias_term"), []),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_values(bias: str, behind: str, names: list[str], precision: str) -> None:
    net, x = load(CONV.format(bias=bias) + behind), torch.randn(2, 3, 9, 8)
    with torch.inference_mode():
        want = net(x=x)
        got = freeze(net, precision)(x=x)
    assert folded(net) == names
    for name, value in want.items():
        assert (got[name] - value).abs().max() <= (1e-5 if precision == "fp32" else 0.03) * value.abs().max()


def test_a_weight_of_0_stands_for_no_statistics() -> None:
    net, x = load(CONV.format(bias="true") + NORM), torch.randn(2, 3, 9, 8)
    with torch.inference_mode():
        net.get_parameter("n.weight").zero_()
        want = net(x=x)["c"]
        torch.testing.assert_close(freeze(net)(x=x)["c"], want, rtol=1e-4, atol=1e-3)


def test_it_can_be_switched_off() -> None:
    assert folded(freeze(load(CONV.format(bias="true") + NORM + SCALE, "norm_folding"))) == []
