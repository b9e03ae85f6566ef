"""bf16 follows fp32: on the published recipes with slim FCN nets, losses and what was learned stay near."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_golden_solvers import CASES, Case

SLIM = [name for name in CASES if name.startswith("fcn")]


def learned(case: Case, precision: str) -> tuple[np.ndarray, np.ndarray, set[torch.dtype]]:
    """Losses of the displayed blob, all history as one array, and the types of weights and history."""
    core = case.solver(precision=precision)
    losses = []
    for _ in range(case.meta["iters"]):
        core.step(1)
        losses.append(core.smoothed_loss)
    history = core.update.stored()
    kinds = {p.dtype for p in core.net.parameters()} | {h.dtype for h in history}
    return np.array(losses), np.concatenate([h.numpy().ravel() for h in history]), kinds


@pytest.mark.parametrize("name", SLIM)
def test_bf16_stays_near_fp32(name, tmp_path, monkeypatch):
    """Losses within 3 % of the largest, velocities within 15 % of their norm; weights and velocities kept in fp32."""
    monkeypatch.chdir(tmp_path)
    (want, velocity, _), (losses, rough, kinds) = (learned(Case(name), kind) for kind in ("fp32", "bf16"))
    assert kinds == {torch.float32}
    assert (losses != want).any()
    assert np.abs(losses - want).max() < 0.03 * np.abs(want).max()
    assert np.linalg.norm(rough - velocity) < 0.15 * np.linalg.norm(velocity)
