"""halo_elision: the same values and gradients as running every layer whole, and silence where it does not apply."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import planes
from netspec.ir.lower import lower
from netspec.layers import Context, large
from netspec.net import Net
from netspec.spec import text

CONV = """layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {width} kernel_size: {k} pad: {pad} stride: {stride}
    weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 0.5 }} }} }}
"""
RELU = 'layer {{ name: "r_{bottom}" type: "ReLU" bottom: "{bottom}" top: "{bottom}" }}\n'
POOL = """layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}"
  pooling_param {{ pool: {kind} kernel_size: {k} stride: {stride} }} }}
"""
TAIL = """layer { name: "sum" type: "Reduction" bottom: "%s" top: "sum" loss_weight: 1
  reduction_param { operation: SUMSQ coeff: 0.01 } }
"""


def vgg_like(pad: int, stages: int, kind: str = "MAX", extra: str = "") -> str:
    out = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 40 dim: 40 } } }\n'
    bottom = "data"
    for stage in range(stages):
        for i in range(2):
            name = f"c{stage}_{i}"
            first = stage == i == 0
            out += CONV.format(name=name, bottom=bottom, width=4 + stage, k=3, pad=pad if first else 1, stride=1)
            out += RELU.format(bottom=name)
            bottom = name
        out += extra.format(bottom=bottom)
        out += POOL.format(name=f"p{stage}", bottom=bottom, kind=kind, k=2, stride=2)
        bottom = f"p{stage}"
    return out


def nets(body: str, end: str, phase: str = "TEST", shape: tuple[int, ...] = (1, 3, 40, 40)) -> tuple[Net, Net]:
    """The same net with the pass and without."""
    graph = lower(text.parse(body + TAIL % end), phase)
    shapes = {"data": shape}
    plain = Net(graph, Context(no_pass=frozenset({"halo_elision"})), shapes).double()
    quick = Net(graph, Context(), shapes).double()
    quick.load_state_dict(plain.state_dict())
    return plain, quick


def used(net: Net) -> int:
    """How many layers the last run took together."""
    return max((len(p.rows) for halo in net.halos.values() for p in halo.plans.values() if p), default=0)


def assert_same(plain: Net, quick: Net, x: torch.Tensor, blobs: list[str]) -> None:
    with torch.inference_mode():
        want, got = plain(blobs=blobs, data=x), quick(blobs=blobs, data=x)
    for name in blobs:
        torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-10)
    for net in (plain, quick):
        net.zero_grad()
        net.loss({"data": x})[0].backward()
    for (name, p), q in zip(plain.named_parameters(), quick.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(9, 45),
    width=st.integers(9, 45),
    pad=st.integers(30, 50),
    stages=st.integers(1, 3),
    batch=st.integers(1, 2),
    kind=st.sampled_from(["MAX", "AVE"]),
    innermost=st.booleans(),
    matrices=st.booleans(),
)
def test_values_and_gradients(
    height: int, width: int, pad: int, stages: int, batch: int, kind: str, innermost: bool, matrices: bool
) -> None:
    torch.manual_seed(1)
    end = f"p{stages - 1}"
    plain, quick = nets(vgg_like(pad, stages, kind), end, shape=(batch, 3, height, width))
    quick.innermost = innermost
    x = torch.randn(batch, 3, height, width, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        if matrices:
            patch.setattr(large, "suits", lambda weight, places: True)
        assert_same(plain, quick, x, [f"p{i}" for i in range(stages)])
    assert used(quick) > 0


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(9, 45),
    width=st.integers(9, 45),
    stages=st.integers(1, 3),
    batch=st.integers(1, 2),
    rows=st.integers(1, 9),
    extra=st.sampled_from(["", 'layer {{ name: "w_{bottom}" type: "ELU" bottom: "{bottom}" top: "{bottom}" }}\n']),
)
def test_stages_in_bands(height: int, width: int, stages: int, batch: int, rows: int, extra: str) -> None:
    torch.manual_seed(1)
    plain, quick = nets(vgg_like(40, stages, extra=extra), f"p{stages - 1}", shape=(batch, 3, height, width))
    x = torch.randn(batch, 3, height, width, dtype=torch.float64)
    run_in_bands, ran = planes.run_bands, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "LARGE", 0)
        patch.setattr(planes, "BAND", rows * 4 * 8 * 100)
        patch.setattr(planes, "run_bands", lambda *args: ran.append(len(args[-1])) or run_in_bands(*args))
        assert_same(plain, quick, x, [f"p{i}" for i in range(stages)])
    assert len(ran) == len(planes.stages(quick.steps[1:-1])) == stages


def test_a_power_in_place_ends_a_chain_for_its_gradient_is_no_sum_over_places() -> None:
    power = """layer {{ name: "w_{bottom}" type: "Power" bottom: "{bottom}" top: "{bottom}"
      power_param {{ scale: 2 }} }}
    """
    plain, quick = nets(vgg_like(40, 1, extra=power), "p0", shape=(1, 3, 20, 20))
    assert_same(plain, quick, torch.randn(1, 3, 20, 20, dtype=torch.float64), ["p0"])
    assert used(quick) == 4


@pytest.mark.parametrize("blobs", [["c0_1"], ["c1_0", "p1"], ["c0_0", "c0_1", "p0", "c1_1", "p1"]])
def test_any_blob_of_the_chain_can_be_asked_for(blobs: list[str]) -> None:
    plain, quick = nets(vgg_like(40, 2), "p1", shape=(1, 3, 33, 30))
    assert_same(plain, quick, torch.randn(1, 3, 33, 30, dtype=torch.float64), blobs)
    assert used(quick)


def test_strided_first_convolution_and_overlapping_pooling() -> None:
    body = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 60 dim: 60 } } }\n'
    body += CONV.format(name="c", bottom="data", width=6, k=11, pad=100, stride=4) + RELU.format(bottom="c")
    body += POOL.format(name="p", bottom="c", kind="MAX", k=3, stride=2)
    body += 'layer { name: "n" type: "LRN" bottom: "p" top: "n" }\n'
    body += CONV.format(name="d", bottom="n", width=5, k=5, pad=2, stride=1) + RELU.format(bottom="d")
    for size in (60, 61, 62, 63):
        plain, quick = nets(body, "d", shape=(1, 3, size, size))
        assert_same(plain, quick, torch.randn(1, 3, size, size, dtype=torch.float64), ["p", "n", "d"])
        assert used(quick) >= 5


def test_the_template_follows_the_weights() -> None:
    plain, quick = nets(vgg_like(40, 2), "p1", shape=(1, 3, 30, 30))
    x = torch.randn(1, 3, 30, 30, dtype=torch.float64)
    assert_same(plain, quick, x, ["p1"])
    with torch.no_grad():
        for p, q in zip(plain.parameters(), quick.parameters(), strict=True):
            q.copy_(p.add_(0.1))
    assert_same(plain, quick, x, ["p1"])


def test_layers_in_place_after_the_chain_do_not_reach_back() -> None:
    body = vgg_like(40, 2) + CONV.format(name="e", bottom="p1", width=3, k=3, pad=1, stride=1) + RELU.format(bottom="e")
    plain, quick = nets(body, "e", shape=(1, 3, 31, 30))
    assert_same(plain, quick, torch.randn(1, 3, 31, 30, dtype=torch.float64), ["p0", "p1", "e"])


def test_an_ordinary_pad_is_left_alone() -> None:
    _, quick = nets(vgg_like(1, 2), "p1")
    assert quick.halos == {}


def test_a_chain_stops_before_a_layer_that_is_not_the_same_everywhere() -> None:
    drop = 'layer {{ name: "d_{bottom}" type: "Dropout" bottom: "{bottom}" top: "{bottom}" }}\n'
    _, quick = nets(vgg_like(40, 2, extra=drop), "p1", phase="TRAIN", shape=(1, 3, 30, 30))
    (halo,) = quick.halos.values()
    assert len(halo.chain.layers) == 4


def test_a_small_saving_is_not_worth_it() -> None:
    _, quick = nets(vgg_like(8, 1), "p0", shape=(1, 3, 600, 600))
    with torch.inference_mode():
        quick(data=torch.zeros(1, 3, 600, 600, dtype=torch.float64))
    assert used(quick) == 0
