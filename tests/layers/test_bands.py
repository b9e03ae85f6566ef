"""Convolution in bfloat16 with the weight's gradient in bands: what the whole convolution gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from netspec.layers import bands
from netspec.layers.window import Window


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("band", [1, 3000, 2**22])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "pad", "dilation"),
    [((3, 3), (1, 1), (1, 1)), ((5, 3), (0, 2), (1, 1)), ((3, 2), (4, 1), (2, 3)), ((1, 1), (0, 0), (1, 1))],
)
def test_values_and_gradients(layout, band, batch, kernel, pad, dilation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND", band)
    torch.manual_seed(0)
    window = Window(kernel, (1, 1), pad, dilation)
    x = torch.randn(batch, 5, 17, 13).contiguous(memory_format=layout).requires_grad_()
    weight, bias = torch.randn(7, 5, *kernel, requires_grad=True), torch.randn(7, requires_grad=True)
    with autocast():
        got = bands.convolve(x, weight, bias, window)
    want = F.conv2d(x, weight, bias, 1, pad, dilation)
    assert got.dtype == torch.bfloat16
    above = torch.randn_like(want)
    inputs = (x, weight, bias)
    mine = [got, *torch.autograd.grad(got, inputs, above.bfloat16())]
    plain = [want, *torch.autograd.grad(want, inputs, above)]
    for one, other in zip(mine, plain, strict=True):
        assert (one.float() - other).norm() < 1e-2 * other.norm()


def test_only_what_learns_gets_a_gradient() -> None:
    x = torch.randn(1, 2, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    with autocast():
        y = bands.convolve(x.detach(), weight, torch.randn(3), Window((3, 3), (1, 1), (1, 1), (1, 1)))
    y.sum().backward()
    assert weight.grad is not None and x.grad is None


def test_it_is_for_large_maps_that_learn_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 1000)
    x, weight = torch.randn(1, 2, 20, 20), torch.randn(3, 2, 3, 3, requires_grad=True)
    window, strided = (Window((3, 3), (s, s), (1, 1), (1, 1)) for s in (1, 2))
    assert not bands.suits(x, weight, window, 1)
    with autocast():
        assert bands.suits(x, weight, window, 1)
        assert not bands.suits(x[:, :, :10], weight, window, 1)
        assert not bands.suits(x, weight, strided, 1) and not bands.suits(x, weight, window, 2)
        assert not bands.suits(x, weight.detach(), window, 1)
        with torch.no_grad():
            assert not bands.suits(x, weight, window, 1)
