"""frugal: weights that move during backward end where the others do, and their gradients are let go."""

from __future__ import annotations

import pytest
from solver_nets import MOMENTUM, NET, everything, same, solver

from netspec.layers import Context, large
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


SHARED = NET.replace(
    'layer { name: "relu"',
    '''
layer { name: "wide" type: "InnerProduct" bottom: "sum" top: "wide" inner_product_param { num_output: 64 } }
layer { name: "wider" type: "InnerProduct" bottom: "wide" top: "wider" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 64 weight_filler { type: "xavier" } } }
layer { name: "again" type: "InnerProduct" bottom: "wider" top: "again" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 64 } }
layer { name: "length" type: "Reduction" bottom: "again" top: "length" loss_weight: 1e-3
  reduction_param { operation: SUMSQ } }
layer { name: "relu"''',
)


def parted(s: Solver, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many parts of each parameter blob moved on their own in one iteration."""
    counts: dict[str, int] = {}
    move = s.update._move

    def counting(members, *given, rows=None, **more) -> None:
        if rows is not None:
            name = s.update.learned[members[0]].name
            counts[name] = counts.get(name, 0) + 1
        move(members, *given, rows=rows, **more)

    monkeypatch.setattr(s.update, "_move", counting)
    s.step(1)
    return counts


@pytest.mark.parametrize("recompute", [False, True])
def test_what_is_read_once_moves_in_parts_and_what_is_shared_as_a_whole(
    recompute: bool, all_large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "PART", 1000)
    context = Context(recompute=recompute)
    plain = solver(SHARED, frugal=False, context=context)
    plain.step(1)
    frugal = solver(SHARED, frugal=True, context=context)
    counts = parted(frugal, monkeypatch)
    assert counts["wide.0"] > 1 and "wider.0" not in counts
    same(everything(frugal), everything(plain))
