"""frugal: weights that move during backward end where the others do, and their gradients are let go."""

from __future__ import annotations

import pytest
from solver_nets import MOMENTUM, NET, everything, same, solver

from netspec.layers import large
from netspec.solver import Solver


def run(frugal: bool, **fields) -> Solver:
    s = solver(NET, frugal=frugal, **fields)
    s.step(4)
    return s


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 0)


@pytest.mark.parametrize("kind", MOMENTUM)
def test_bit_for_bit_the_same(kind: str, all_large: None) -> None:
    fields = {"type": f'"{kind}"', "momentum": MOMENTUM[kind]}
    plain, frugal = run(False, **fields), run(True, **fields)
    same(everything(frugal), everything(plain))
    assert all(p.tensor.grad is not None for p in plain.update.learned if p.lr_mult)
    assert all(p.tensor.grad is None for p in frugal.update.learned)


@pytest.mark.parametrize("fields", [{"iter_size": 2}, {"clip_gradients": 0.5}, {"snapshot_diff": "true"}])
def test_gradients_that_are_needed_together_stay(fields, all_large: None) -> None:
    plain, frugal = run(False, **fields), run(True, **fields)
    same(everything(frugal), everything(plain))
    assert all(p.tensor.grad is not None for p in frugal.update.learned if p.lr_mult)


def test_small_weights_wait_for_the_others() -> None:
    assert all(p.tensor.grad is not None for p in run(True).update.learned if p.lr_mult)
