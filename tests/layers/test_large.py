"""Products of a large weight: what plain products give, their gradients, and gradients that are handed on in parts."""

from __future__ import annotations

import pytest
import torch

from netspec.layers import large
from netspec.layers.convolution import multiply
from netspec.layers.window import Window

DTYPES = [torch.float32, torch.bfloat16]


def made(with_bias: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    torch.manual_seed(0)
    bias = torch.randn(37, requires_grad=True) if with_bias else None
    return torch.randn(37, 50, requires_grad=True), torch.randn(50, 23, requires_grad=True), bias


def product(dtype: torch.dtype, *inputs: torch.Tensor | None) -> torch.Tensor:
    weight, columns, bias = inputs
    assert weight is not None and columns is not None
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        return large.product(weight, columns, bias)


def close(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype) -> None:
    error = 5e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(got.float(), want.float(), rtol=error, atol=error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("part", [1, 5000, 2**24])
def test_values_and_gradients(dtype: torch.dtype, with_bias: bool, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "PART", part)
    weight, columns, bias = made(with_bias)
    got = product(dtype, weight, columns, bias)
    want = weight.to(dtype) @ columns.to(dtype) + (0 if bias is None else bias.to(dtype)[:, None])
    assert got.dtype == dtype
    close(got, want, dtype)
    inputs, above = [t for t in (weight, columns, bias) if t is not None], torch.randn(37, 23).to(dtype)
    for mine, plain in zip(
        torch.autograd.grad(got, inputs, above), torch.autograd.grad(want, inputs, above), strict=True
    ):
        assert mine.dtype == torch.float32
        close(mine, plain, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_who_takes_rows_gets_the_gradient_once_and_after_all_else(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "PART", 2000)
    weight, columns, bias = made()
    above = torch.randn(37, 23).to(dtype)
    want = torch.autograd.grad(product(dtype, weight, columns, bias), [weight, columns], above)
    got = torch.zeros_like(weight)
    rows: list[slice] = []

    def take(part: slice, gradient: torch.Tensor) -> None:
        rows.append(part)
        got[part] += gradient
        with torch.no_grad():
            weight[part] = float("nan")

    y = product(dtype, weight, columns, bias)
    weight.take_rows = take  # type: ignore[attr-defined]
    y.backward(above)
    assert len(rows) > 1 and weight.grad is None
    close(got, want[0], dtype)
    assert columns.grad is not None
    close(columns.grad, want[1], dtype)


def test_a_weight_that_moved_is_rounded_anew() -> None:
    weight, columns, bias = made()
    before = product(torch.bfloat16, weight, columns, bias)
    with torch.no_grad():
        weight.mul_(2)
    after = product(torch.bfloat16, weight, columns, None)
    close(after, 2 * (before - bias[:, None]), torch.bfloat16)  # type: ignore[index]


@pytest.mark.parametrize("window", [Window((3, 3), (1, 1), (0, 0), (1, 1)), Window((1, 1), (1, 1), (0, 0), (1, 1))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_convolution(window: Window, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 8, 6, 7), torch.randn(16, 8, *window.kernel) / 8, torch.randn(16)
    want = torch.conv2d(x, weight, bias)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        got = multiply(x, window, weight, bias)
    assert got.dtype == dtype
    close(got, want, dtype)
