"""Laws that hold for every solver file: iter_size is a larger batch, lr_mult 0 stays, resuming changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solver_nets import MOMENTUM, everything, same, solver, write

from netspec.solver import Solver

POLICIES = {
    "fixed": {},
    "step": {"gamma": 0.5, "stepsize": 2},
    "exp": {"gamma": 0.9},
    "inv": {"gamma": 0.1, "power": 0.75},
    "multistep": {"gamma": 0.5, "stepvalue": [1, 3]},
    "poly": {"power": 2, "max_iter": 10},
    "sigmoid": {"gamma": -0.5, "stepsize": 3},
}
BLOBS = """
layer {{ name: "data" type: "Input" top: "data" top: "label"
  input_param {{ shape {{ dim: {n} dim: 2 dim: 3 dim: 3 }} shape {{ dim: {n} dim: 1 dim: 3 dim: 3 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param {{ lr_mult: 0.5 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "tanh" type: "TanH" bottom: "conv" top: "conv" }}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_weight: {weight}
  loss_param {{ ignore_label: 255 normalization: {normalization} }} }}
"""
FROZEN = """
force_backward: {force}
layer {{ name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {{ shape {{ dim: 4 dim: 3 }} shape {{ dim: 4 }}
    data_filler {{ type: "gaussian" std: 1 }} data_filler {{ type: "constant" value: 1 }} }} }}
layer {{ name: "frozen" type: "InnerProduct" bottom: "data" top: "a" param {{ lr_mult: 0 }} param {{ lr_mult: 0 }}
  inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" value: 1 }} }} }}
layer {{ name: "half" type: "InnerProduct" bottom: "a" top: "b" param {{ lr_mult: 1 }} param {{ lr_mult: 0 }}
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" value: 2 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }}
"""


@st.composite
def fields(draw: st.DrawFn, clip: bool = True) -> dict[str, Any]:
    """A solver's fields: any rule, policy and regularisation."""
    kind = draw(st.sampled_from(list(MOMENTUM)))
    policy = draw(st.sampled_from(list(POLICIES)))
    return {
        "type": f'"{kind}"',
        "momentum": draw(st.sampled_from([0.5, 0.9])) if MOMENTUM[kind] else 0,
        "delta": 1e-3,
        "base_lr": draw(st.sampled_from([0.2, 0.01])),
        "lr_policy": f'"{policy}"',
        **POLICIES[policy],
        "weight_decay": draw(st.sampled_from([0, 0.01])),
        "regularization_type": draw(st.sampled_from(['"L1"', '"L2"'])),
        "clip_gradients": draw(st.sampled_from([-1, 0.05])) if clip else -1,
        "average_loss": draw(st.integers(1, 4)),
        "random_seed": draw(st.integers(0, 99)),
    }


def batches(seed: int, n: int, void: bool) -> list[dict[str, torch.Tensor]]:
    """Six batches of n images."""
    draw = np.random.default_rng(seed)
    out = []
    for _ in range(6):
        label = draw.integers(0, 3, (n, 1, 3, 3)).astype("f4")
        if void:
            label[draw.random(label.shape) < draw.uniform(0.1, 0.8)] = 255
        out.append({"data": draw.normal(size=(n, 2, 3, 3)).astype("f4"), "label": label})
    return [{k: torch.from_numpy(v) for k, v in b.items()} for b in out]


def joined(parts: list[dict[str, torch.Tensor]], k: int) -> list[dict[str, torch.Tensor]]:
    """Each k batches as one."""
    return [{b: torch.cat([p[b] for p in parts[i : i + k]]) for b in parts[0]} for i in range(0, len(parts), k)]


def fed(parts: list[dict[str, torch.Tensor]], normalization: str, weight: float, **given: Any) -> Solver:
    feed: Iterator[dict[str, torch.Tensor]] = cycle(parts)
    net = BLOBS.format(n=len(parts[0]["data"]), normalization=normalization, weight=weight)
    return solver(net, feed=lambda: next(feed), **given)


@given(
    given_fields=fields(),
    k=st.sampled_from([2, 3]),
    b=st.integers(1, 3),
    normalization=st.sampled_from(["BATCH_SIZE", "FULL", "NONE"]),
    void=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_iter_size_is_a_larger_batch(given_fields, k, b, normalization, void, seed):
    """With NONE, the sum, the large batch weighs k times as much. clip_gradients sees a sum over iter_size."""
    parts, steps = batches(seed, b, void), 6 // k
    small = fed(parts, normalization, 1.0, **given_fields, iter_size=k)
    clip = given_fields["clip_gradients"]
    weight = 1 / k if normalization == "NONE" else 1.0
    changed = {**given_fields, "clip_gradients": clip / k if clip > 0 else clip}
    large = fed(joined(parts, k), normalization, weight, **changed)
    small.step(steps)
    large.step(steps)
    assert small.smoothed_loss == pytest.approx(large.smoothed_loss, rel=1e-4)
    mine, want = everything(small), everything(large)
    for name, value in want.items():
        np.testing.assert_allclose(
            mine[name], value, rtol=2e-3, atol=2e-4 * np.abs(value).max(initial=1e-6), err_msg=name
        )


@given(k=st.sampled_from([2, 3]), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_valid_weighs_sub_iterations_alike_and_a_larger_batch_by_labelled_pixels(k, seed):
    """A gradient from V labelled places counts sum(V) / (k V) times what a larger batch gives it."""
    plain: dict[str, Any] = {"momentum": 0, "weight_decay": 0, "base_lr": 1}
    parts = batches(seed, 2, void=True)[:k]

    def change(given_parts: list[dict[str, torch.Tensor]], iter_size: int = 1) -> np.ndarray:
        s = fed(given_parts, "VALID", 1.0, **plain, iter_size=iter_size)
        before = everything(s)["score.weight"]
        s.step(1)
        return everything(s)["score.weight"] - before

    alone = [change([p]) for p in parts]
    valid = [int((p["label"] != 255).sum()) for p in parts]
    np.testing.assert_allclose(change(parts, k), sum(alone) / k, rtol=1e-3, atol=1e-6)
    larger = sum(v * a for v, a in zip(valid, alone, strict=True)) / sum(valid)
    np.testing.assert_allclose(change(joined(parts, k)), larger, rtol=1e-3, atol=1e-6)


@given(given_fields=fields(), force=st.sampled_from(["true", "false"]), diff=st.booleans(), iter_size=st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_lr_mult_0_never_moves_a_weight(given_fields, force, diff, iter_size):
    s = solver(FROZEN.format(force=force), **given_fields, iter_size=iter_size, snapshot_diff=str(diff).lower())
    before = everything(s)
    s.step(3)
    after = everything(s)
    for name in ("frozen.weight", "frozen.bias", "half.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["half.weight"] != before["half.weight"]).any()
    history = s.update.stored()
    if s.param.type in ("SGD", "Nesterov"):
        assert not any(history[i].any() for i in (0, 1, 3))
    else:
        assert bool(history[1].any()) == (force == "true" or s.param.weight_decay > 0)


@given(
    given_fields=fields(),
    end=st.sampled_from(["BINARYPROTO", "HDF5"]),
    at=st.integers(1, 4),
    iter_size=st.integers(1, 2),
)
@settings(max_examples=15, deadline=None)
def test_resume_at_any_iteration_equals_no_resume(given_fields, end, at, iter_size):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder, **given_fields, snapshot_format=end, iter_size=iter_size)
        whole = Solver(path)
        whole.step(at)
        state = whole.snapshot()
        whole.step(5 - at)
        torch.manual_seed(1)
        resumed = Solver(path)
        resumed.restore(state)
        resumed.step(5 - at)
        same(everything(resumed), everything(whole))
        assert resumed.smoothed_loss == whole.smoothed_loss or given_fields["average_loss"] > 1
