"""scale_fusion: what runs as one operation gives what two give, forward and back."""

from __future__ import annotations

import pytest
import torch

from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec.text import parse

INPUT = 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: [%d, 3, 4, 5] } } }'
CONV = """layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 1
  weight_filler { type: "xavier" } } }"""
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "c" top: "%s" %s }'
SCALE = """layer { name: "s" type: "Scale" bottom: "%s" top: "%s" scale_param { bias_term: true %s
  filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "gaussian" } } }"""
RELU = 'layer { name: "r" type: "ReLU" bottom: "%s" top: "%s" }'


def build(*layers: str, phase: str = "TRAIN", batch: int = 3, **context: object) -> Net:
    text = "force_backward: true " + INPUT % batch + "".join(layers)
    torch.manual_seed(0)
    net = Net(lower(parse(text, "net.prototxt"), phase), Context(**context))
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.startswith("n."):
                p.uniform_(0.5, 2)
    return net


IN_PLACE = (CONV, NORM % ("c", ""), SCALE % ("c", "c", ""), RELU % ("c", "c"))
APART = (CONV, NORM % ("n", ""), SCALE % ("n", "s", ""), RELU % ("s", "r"))


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layers", [IN_PLACE, APART], ids=["in place", "apart"])
def test_fused_is_the_same(layers: tuple[str, ...], phase: str, batch: int) -> None:
    nets = [build(*layers, phase=phase, batch=batch, no_pass=frozenset(off)) for off in ((), ["scale_fusion"])]
    assert nets[0].scales == {2: 3} and nets[1].scales == {}
    values = []
    for net in nets:
        x = torch.linspace(-2, 3, batch * 60).reshape(batch, 3, 4, 5).requires_grad_()
        for _ in range(2):  # a second pass, since a factor of one image forgets its first gradient
            (top,) = net(x=x).values()
            top.square().sum().backward()
        state = {**net.state_dict(), **{f"d {name}": p.grad for name, p in net.named_parameters()}}
        values.append({"top": top, "dx": x.grad, **{k: v for k, v in state.items() if v is not None}})
    assert values[0].keys() == values[1].keys()
    for name in values[0]:
        torch.testing.assert_close(values[0][name], values[1][name], rtol=1e-4, atol=1e-4, msg=name)


def test_what_lies_between_can_be_asked_for() -> None:
    net = build(*APART, phase="TEST")
    x = torch.randn(3, 3, 4, 5)
    both = net(x=x, blobs=["n", "s"])
    scale = net.steps[3]
    torch.testing.assert_close(both["s"], scale.run([both["n"]])[0])
    torch.testing.assert_close(net(x=x, blobs=["s"])["s"], both["s"])
    assert set(net(x=x, blobs=["n"])) == {"n"}


@pytest.mark.parametrize(
    "layers",
    [
        (CONV, NORM % ("n", ""), SCALE % ("n", "s", ""), RELU % ("n", "r")),
        (CONV, NORM % ("n", ""), SCALE % ("n", "s", "num_axes: 2")),
        (CONV, NORM % ("n", ""), SCALE % ("n", "s", "axis: 2")),
        (CONV, NORM % ("n", "batch_norm_param { scale_bias: true }"), SCALE % ("n", "s", "")),
        (CONV, RELU % ("c", "n"), SCALE % ("n", "s", "")),
        (
            CONV,
            NORM % ("n", ""),
            'layer { name: "s" type: "Scale" bottom: "n" bottom: "c" top: "s" scale_param { axis: 0 } }',
        ),
    ],
    ids=["another reader", "two axes", "rows", "own factor", "no norm", "factor from a bottom"],
)
def test_others_stay_apart(layers: tuple[str, ...]) -> None:
    assert build(*layers).scales == {}
