"""Maps that are cut and continued: the values and gradients of slices, gradients in the maps' own layout."""

from __future__ import annotations

import pytest
import torch

from netspec.margins import bordered, continued, cut

INNER = slice(1, 5), slice(2, 6)
LAYOUTS = [torch.channels_last, torch.contiguous_format]


def map_of(layout: torch.memory_format, height: int = 7, width: int = 8) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()


def around() -> torch.Tensor:
    return torch.randn(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut(layout: torch.memory_format) -> None:
    x = map_of(layout)
    assert torch.equal(cut(x, INNER), x[:, :, 1:5, 2:6])
    assert torch.autograd.gradcheck(lambda x: cut(x, INNER), [x])
    (gradient,) = torch.autograd.grad(cut(x, INNER), [x], cut(x, INNER).detach())
    assert gradient.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("inner", "size"), [(INNER, (6, 9)), ((slice(0, 4), slice(0, 4)), (4, 7))])
def test_continued(layout: torch.memory_format, inner: tuple[slice, slice], size: tuple[int, int]) -> None:
    x, c = map_of(layout, 4, 4), around()
    y = continued(x, c, inner, size)
    want = c.expand(2, 3, *size).clone()
    want[:, :, inner[0], inner[1]] = x
    assert torch.equal(y, want) and y.is_contiguous(memory_format=layout)
    assert torch.autograd.gradcheck(lambda x, c: continued(x, c, inner, size), [x, c])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bordered(layout: torch.memory_format) -> None:
    x, c = map_of(layout), around()
    y = bordered(x * 1, c, INNER)
    assert torch.equal(y[:, :, 1:5, 2:6], x[:, :, 1:5, 2:6])
    assert torch.equal(y[:, :, 0], c[..., 0].expand(2, 3, 8)) and torch.equal(y[..., 6:], c.expand(2, 3, 7, 2))
    assert torch.autograd.gradcheck(lambda x, c: bordered(x * 1, c, INNER), [x, c])
    (gradient,) = torch.autograd.grad(y, [x], y.detach())
    assert gradient.is_contiguous(memory_format=layout)


def test_without_gradients_a_border_is_written_in_place() -> None:
    x, c = map_of(torch.channels_last).detach(), around().detach()
    assert bordered(x, c, INNER).data_ptr() == x.data_ptr() and torch.equal(x[:, :, :1, :1], c.expand(2, 3, 1, 1))
