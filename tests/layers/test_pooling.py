"""Pooling and SPP: refused settings, windows, gradients, the random form."""

from __future__ import annotations

import pytest
import torch
from one_layer import check_gradients, layer, refused, top_shapes

from netspec.ir.coords import coord_map, equal

SMALL = [(2, 3, 5, 6)]
BAD = [
    ("", SMALL, 1, "kernel_size is missing"),
    ("kernel_size: 0", SMALL, 1, "kernel_size [0, 0] must be at least 1"),
    ("kernel_size: 2 kernel_h: 2 kernel_w: 2", SMALL, 1, "give kernel_size, or both kernel_h and kernel_w"),
    ("kernel_h: 2", SMALL, 1, "give kernel_size, or both kernel_h and kernel_w"),
    ("kernel_size: 2 stride: 2 stride_h: 2 stride_w: 2", SMALL, 1, "give stride, or both"),
    ("kernel_size: 2 stride_h: 2", SMALL, 1, "give stride, or both"),
    ("kernel_size: 2 pad_w: 1", SMALL, 1, "give pad, or both"),
    ("kernel_size: 2 stride: 0", SMALL, 1, "stride [0, 0] must be at least 1"),
    ("kernel_size: 2 pad: 2", SMALL, 1, "pad [2, 2] must be less than kernel [2, 2]"),
    ("kernel_size: 2 pad: 1 pool: STOCHASTIC", SMALL, 1, "pool STOCHASTIC takes no pad"),
    ("global_pooling: true kernel_size: 2", SMALL, 1, "global_pooling takes no kernel_size"),
    ("global_pooling: true kernel_h: 2", SMALL, 1, "global_pooling takes no kernel_h"),
    ("global_pooling: true pad: 1", SMALL, 1, "global_pooling takes pad 0 and stride 1"),
    ("global_pooling: true stride: 2", SMALL, 1, "global_pooling takes pad 0 and stride 1"),
    ("kernel_size: 2", [(2, 3, 5)], 1, "must have four axes"),
    ("kernel_size: 9", SMALL, 1, "kernel [9, 9] does not fit bottom [2, 3, 5, 6]"),
    ("kernel_size: 2 pool: AVE", SMALL, 2, "pool AVE has no mask; it takes 1 top"),
    ("kernel_size: 2", SMALL, 3, "has 3 tops and takes 1 to 2"),
]
BAD_SPP = [
    ("", SMALL, "pyramid_height 0 must be 1 to 31"),
    ("pyramid_height: 2", [(2, 3, 5)], "must have four axes"),
    ("pyramid_height: 4", [(1, 1, 4, 4)], "[4, 4] cannot be divided into 8 x 8 windows"),
    ("pyramid_height: 2 pool: STOCHASTIC", [(1, 1, 3, 3)], "pool STOCHASTIC takes no padding"),
]
WINDOWS = ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2 pad: 2", "kernel_size: 1 stride: 2", "kernel_size: 5"]


@pytest.mark.parametrize(("settings", "shapes", "tops", "message"), BAD)
def test_refused(settings, shapes, tops, message):
    refused("Pooling", f"pooling_param {{ {settings} }}", shapes, tops, message)


@pytest.mark.parametrize(("settings", "shapes", "message"), BAD_SPP)
def test_spp_refused(settings, shapes, message):
    refused("SPP", f"spp_param {{ {settings} }}", shapes, 1, message)


def by_hand(x: torch.Tensor, k: int, s: int, p: int, cells: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Maxima and means of one plane, window by window, as the docstrings say."""
    n, m = x.shape
    best, mean = torch.zeros(cells), torch.zeros(cells)
    for i in range(cells[0]):
        for j in range(cells[1]):
            a, b = i * s - p, j * s - p
            part = x[max(a, 0) : a + k, max(b, 0) : b + k]
            area = (min(a + k, n + p) - a) * (min(b + k, m + p) - b)
            best[i, j] = part.max() if part.numel() else -torch.finfo(torch.float32).max
            mean[i, j] = part.sum() / area if part.numel() else 0
    return best, mean


@pytest.mark.parametrize(
    ("n", "m", "k", "s", "p"), [(5, 6, 3, 2, 2), (6, 4, 1, 2, 0), (4, 7, 2, 3, 1), (7, 7, 3, 2, 0)]
)
def test_windows(n, m, k, s, p):
    x = torch.randn(1, 1, n, m)
    for pool, want in zip(("MAX", "AVE"), (0, 1), strict=True):
        one = layer("Pooling", f"pooling_param {{ pool: {pool} kernel_size: {k} stride: {s} pad: {p} }}", [x.shape])
        cells = one.shapes([tuple(x.shape)])[0][2:]
        assert torch.allclose(one.forward([x], [])[0][0, 0], by_hand(x[0, 0], k, s, p, cells)[want])


@pytest.mark.parametrize("settings", WINDOWS)
def test_mask_points_at_the_winner(settings):
    x = torch.randn(2, 2, 5, 7)
    top, mask = layer("Pooling", f"pooling_param {{ {settings} }}", [x.shape], 2).forward([x], [])
    there = x.flatten(2).gather(2, mask.long().flatten(2)).view_as(top)
    assert torch.equal(there, top)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("settings", [*WINDOWS, "global_pooling: true"])
def test_gradients(settings, pool):
    check_gradients("Pooling", f"pooling_param {{ {settings} pool: {pool} }}", [(1, 2, 5, 5)])


def test_stochastic_in_test_is_the_expectation():
    x = torch.rand(2, 3, 5, 5)
    one = layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 5 }", [x.shape])
    assert torch.allclose(one.forward([x], [])[0].flatten(), ((x * x).sum((2, 3)) / x.sum((2, 3))).flatten())
    assert not one.forward([torch.zeros(x.shape)], [])[0].any()


def test_stochastic_in_training_draws_cells_by_their_value():
    x = torch.tensor([0.0, 1.0, 0.0, 3.0]).reshape(1, 1, 2, 2).repeat(2000, 1, 1, 1)
    one = layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", [x.shape], phase="TRAIN")
    drawn = one.forward([x], [])[0]
    assert set(drawn.flatten().tolist()) == {1.0, 3.0}
    assert abs((drawn == 3).float().mean() - 0.75) < 0.05


def test_stochastic_gradient_goes_to_the_drawn_cell():
    x = torch.rand(1, 2, 5, 5, requires_grad=True)
    one = layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }", [x.shape], phase="TRAIN")
    top = one.forward([x], [])[0]
    top.sum().backward()
    assert x.grad.sum() == top.numel()
    assert torch.isclose((x * x.grad).sum(), top.sum())


def test_coordinates():
    one = layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", SMALL)
    assert equal(one.coord_map(), coord_map(1, [0.5], [0]))
    assert one.reach() == (3, 3)
    assert layer("Pooling", "pooling_param { global_pooling: true }", SMALL).coord_map() is None


def test_spp_shapes_and_gradients():
    assert top_shapes("SPP", "spp_param { pyramid_height: 3 }", [(2, 3, 9, 7)]) == [(2, 63)]
    assert top_shapes("SPP", "spp_param { pyramid_height: 1 }", [(2, 3, 9, 7)]) == [(2, 3, 1, 1)]
    check_gradients("SPP", "spp_param { pyramid_height: 2 pool: AVE }", [(1, 2, 5, 3)])


@pytest.mark.parametrize("settings", ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2 pad: 1"])
def test_a_large_maximum_finds_its_winners_again(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also among equal ones, of which the first wins."""
    torch.manual_seed(0)
    x = torch.randint(0, 3, (2, 5, 9, 8)).float().contiguous(memory_format=torch.channels_last).requires_grad_()
    pooling = layer("Pooling", f"pooling_param {{ {settings} }}", [tuple(x.shape)])
    (plain,) = pooling.forward([x], [])
    above = torch.randn_like(plain)
    want = torch.autograd.grad(plain, x, above)[0]
    monkeypatch.setattr("netspec.layers.pooling.LARGE", 0)
    (y,) = pooling.forward([x], [])
    assert "MaxPool2D" not in type(y.grad_fn).__name__ and torch.equal(y, plain)
    assert torch.equal(torch.autograd.grad(y, x, above)[0], want)
