"""Winograd's products: what plain convolution gives, nearly as exactly, on any size, batch and pad."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.frozen import freeze
from netspec.layers import winograd
from netspec.layers.packed import Packed
from netspec.layers.window import Window
from netspec.layers.winograd import bands, convolve, suits

NET = """layer {{ name: "x" type: "Input" top: "x"
  input_param {{ shape {{ dim: {n} dim: 128 dim: {size} dim: {size} }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: 128 kernel_size: {kernel}
  pad: 1 stride: {stride} dilation: {dilation} group: {group} weight_filler {{ type: "msra" }} }} }}
layer {{ name: "r" type: "ReLU" bottom: "c" top: "c" }}
"""
SUM = """layer { name: "s" type: "Reduction" bottom: "c" top: "s" loss_weight: 1
  reduction_param { operation: SUMSQ } }
"""


def window(pad: tuple[int, int] = (1, 1)) -> Window:
    return Window((3, 3), (1, 1), pad, (1, 1))


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 3),
    size=st.tuples(st.integers(3, 20), st.integers(3, 90)),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    tiles=st.sampled_from([1, 7, 256]),
    bias=st.booleans(),
    relu=st.booleans(),
)
def test_values(count: int, size: tuple[int, int], pad: tuple[int, int], tiles: int, bias: bool, relu: bool) -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(count, 5, *size), torch.randn(7, 5, 3, 3), torch.randn(7) if bias else None
    want = F.conv2d(x, w, b, padding=pad)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(winograd, "TILES", tiles)
        got = convolve(x, w, b, pad, relu)
    torch.testing.assert_close(got, want.relu() if relu else want, rtol=1e-5, atol=5e-5)


def test_rounding() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(1, 256, 40, 40).relu(), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), w.double(), padding=1)
    with torch.inference_mode():
        got = convolve(x, w, None, (1, 1), False)
    assert (got - exact).abs().max() < 4e-6 * exact.abs().max()


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 500, 500), (5, 9, 9), (2, 33, 2000), (300, 4, 4), (1, 1, 1)]
)
def test_bands_cover_every_cell_once(count: int, height: int, width: int) -> None:
    seen = torch.zeros(count, height)
    for images, rows in bands(count, height, width):
        assert rows.start % winograd.SIDE == 0
        seen[images, rows] += 1
    assert (seen == 1).all()


def frozen(no_pass: str = "", **given: int) -> netspec.Net:
    text = NET.format(**{"n": 1, "size": 40, "kernel": 3, "stride": 1, "dilation": 1, "group": 1} | given)
    path = Path("net.prototxt")
    path.write_text(text)
    torch.manual_seed(0)
    return freeze(netspec.load(path, context=netspec.Context(no_pass=frozenset(no_pass.split()))))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def packed(net: netspec.Net) -> bool:
    blobs = net.steps[1].packed
    assert blobs is not None
    return isinstance(blobs[0], Packed)


def test_a_frozen_net_uses_it_and_gives_the_same() -> None:
    quick, plain = frozen(n=2), frozen("winograd", n=2)
    assert packed(plain) and not packed(quick)
    for size in (40, 27, 3):
        x = torch.randn(2, 128, size, size + 1)
        with torch.inference_mode():
            torch.testing.assert_close(quick(x=x)["c"], plain(x=x)["c"], rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("other", [{"stride": 2}, {"dilation": 2}, {"group": 2}, {"kernel": 5}, {"size": 9}])
def test_it_stays_away_where_it_does_not_fit(other: dict[str, int]) -> None:
    assert packed(frozen(**other))


@pytest.mark.parametrize("shape", [(1, 5, 7, 9, 13), (2, 3, 4, 20, 17), (3, 8, 8, 33, 40)])
@pytest.mark.parametrize("pad", [(1, 1), (0, 2)])
@pytest.mark.parametrize("tiles", [5, 256])
def test_gradients(shape: tuple[int, ...], pad: tuple[int, int], tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "TILES", tiles)
    count, channels, outputs, *size = shape
    torch.manual_seed(0)
    blobs = [torch.randn(count, channels, *size), torch.randn(outputs, channels, 3, 3), torch.randn(outputs)]
    x, w, b = (t.double().requires_grad_() for t in blobs)
    quick, plain = convolve(x, w, b, pad, False), F.conv2d(x, w, b, padding=pad)
    above = torch.randn_like(plain)
    want = torch.autograd.grad(plain, (x, w, b), above)
    for got, expected in zip(torch.autograd.grad(quick, (x, w, b), above), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_a_training_net_learns_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[torch.Size] = []
    run = winograd.weight_gradient
    monkeypatch.setattr(winograd, "weight_gradient", lambda x, *rest: ran.append(x.shape) or run(x, *rest))
    Path("net.prototxt").write_text(NET.format(n=1, size=40, kernel=3, stride=1, dilation=1, group=1) + SUM)
    x, grads = torch.randn(1, 128, 40, 40), []
    for no_pass in ("", "winograd"):
        torch.manual_seed(0)
        net = netspec.load("net.prototxt", phase="TRAIN", context=netspec.Context(no_pass=frozenset({no_pass})))
        net.loss({"x": x})[0].backward()
        grads.append([p.grad for p in net.parameters()])
    assert len(ran) == 1
    for quick, plain in zip(*grads, strict=True):
        assert (quick - plain).abs().max() < 1e-5 * plain.abs().max()


def test_few_channels_do_not_suit() -> None:
    assert suits(torch.empty(128, 128, 3, 3), window(), 1, (1, 128, 40, 40))
    assert not suits(torch.empty(128, 64, 3, 3), window(), 1, (1, 64, 40, 40))
    assert not suits(torch.empty(512, 3, 3, 3), window(), 1, (1, 3, 40, 40))


def test_bfloat16_keeps_the_plain_sum() -> None:
    Path("net.prototxt").write_text(NET.format(n=1, size=40, kernel=3, stride=1, dilation=1, group=1))
    assert packed(freeze(netspec.load("net.prototxt"), "bf16"))
