"""Products of a large weight in bfloat16: what rounding the whole weight first gives, and its gradients."""

from __future__ import annotations

import pytest
import torch

from netspec.layers import large
from netspec.layers.convolution import multiply
from netspec.layers.window import Window


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("part", [1, 5000, 2**25])
def test_values_and_gradients(with_bias: bool, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "PART", part)
    torch.manual_seed(0)
    weight = torch.randn(37, 50, requires_grad=True)
    columns = torch.randn(50, 23, requires_grad=True)
    bias = torch.randn(37, requires_grad=True) if with_bias else None
    above = torch.randn(37, 23).bfloat16()
    inputs = [t for t in (weight, columns, bias) if t is not None]
    got = large.product(weight, columns.bfloat16(), bias)
    want = weight.bfloat16() @ columns.bfloat16() + (0 if bias is None else bias.bfloat16()[:, None])
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, want, rtol=2e-2, atol=5e-2)
    for mine, plain in zip(
        torch.autograd.grad(got, inputs, above), torch.autograd.grad(want, inputs, above), strict=True
    ):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, plain, rtol=2e-2, atol=5e-2)


def test_a_large_convolution_under_autocast() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 8, 6, 7), torch.randn(16, 8, 3, 3) / 8, torch.randn(16)
    want = torch.conv2d(x, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        got = multiply(x, Window((3, 3), (1, 1), (0, 0), (1, 1)), weight, bias)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), want, rtol=3e-2, atol=3e-2)
