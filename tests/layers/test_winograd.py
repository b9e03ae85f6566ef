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
from netspec.layers.window import Window
from netspec.layers.winograd import Winograd, bands, by_tiles, suits

NET = """layer {{ name: "x" type: "Input" top: "x"
  input_param {{ shape {{ dim: {n} dim: 64 dim: {size} dim: {size} }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: 128 kernel_size: {kernel}
  pad: 1 stride: {stride} dilation: {dilation} group: {group} weight_filler {{ type: "msra" }} }} }}
layer {{ name: "r" type: "ReLU" bottom: "c" top: "c" }}
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
        got = by_tiles(w).convolve(x, b, window(pad), 1, relu)
    torch.testing.assert_close(got, want.relu() if relu else want, rtol=1e-5, atol=5e-5)


def test_rounding() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(1, 256, 40, 40).relu(), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), w.double(), padding=1)
    with torch.inference_mode():
        got = by_tiles(w).convolve(x, None, window(), 1, False)
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


def weight_of(net: netspec.Net) -> object:
    packed = net.steps[1].packed
    assert packed is not None
    return packed[0]


def test_a_frozen_net_uses_it_and_gives_the_same() -> None:
    quick, plain = frozen(n=2), frozen("winograd", n=2)
    assert isinstance(weight_of(quick), Winograd)
    assert not isinstance(weight_of(plain), Winograd)
    for size in (40, 27, 3):
        x = torch.randn(2, 64, size, size + 1)
        with torch.inference_mode():
            torch.testing.assert_close(quick(x=x)["c"], plain(x=x)["c"], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("other", [{"stride": 2}, {"dilation": 2}, {"group": 2}, {"kernel": 5}, {"size": 9}])
def test_it_stays_away_where_it_does_not_fit(other: dict[str, int]) -> None:
    assert not isinstance(weight_of(frozen(**other)), Winograd)


def test_few_channels_do_not_suit() -> None:
    assert suits(torch.empty(128, 64, 3, 3), window(), 1, (1, 64, 40, 40))
    assert not suits(torch.empty(64, 64, 3, 3), window(), 1, (1, 64, 40, 40))
    assert not suits(torch.empty(512, 3, 3, 3), window(), 1, (1, 3, 40, 40))


def test_bfloat16_keeps_the_plain_sum() -> None:
    Path("net.prototxt").write_text(NET.format(n=1, size=40, kernel=3, stride=1, dilation=1, group=1))
    assert not isinstance(weight_of(freeze(netspec.load("net.prototxt"), "bf16")), Winograd)
