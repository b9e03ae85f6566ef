"""Update rules against plain per-element arithmetic in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.solver import rules
from netspec.solver.rules import RULES, Learned, Update
from netspec.spec import text


def document(**fields):
    lines = "\n".join(f"{k}: {v}" for k, v in fields.items())
    return text.parse(lines, "s.prototxt", "SolverParameter")


def reference(kind, p, w, g, h, rate, t):
    """One step on doubles; h is a list of history arrays, changed in place; returns the new weights."""
    m, delta, m2, d = p.momentum, p.delta, p.momentum2, p.rms_decay
    if kind == "SGD":
        h[0][:] = m * h[0] + rate * g
        return w - h[0]
    if kind == "Nesterov":
        old = h[0].copy()
        h[0][:] = m * old + rate * g
        return w - ((1 + m) * h[0] - m * old)
    if kind == "AdaGrad":
        h[0][:] = h[0] + g * g
        return w - rate * g / (np.sqrt(h[0]) + delta)
    if kind == "RMSProp":
        h[0][:] = d * h[0] + (1 - d) * g * g
        return w - rate * g / (np.sqrt(h[0]) + delta)
    if kind == "AdaDelta":
        h[0][:] = m * h[0] + (1 - m) * g * g
        u = g * np.sqrt((h[1] + delta) / (h[0] + delta))
        h[1][:] = m * h[1] + (1 - m) * u * u
        return w - rate * u
    h[0][:] = m * h[0] + (1 - m) * g
    h[1][:] = m2 * h[1] + (1 - m2) * g * g
    return w - rate * math.sqrt(1 - m2**t) / (1 - m**t) * h[0] / (np.sqrt(h[1]) + delta)


@pytest.mark.parametrize("kind", RULES)
@given(
    seed=st.integers(0, 999),
    momentum=st.sampled_from([0, 0.5, 0.9, 0.99]),
    decay=st.sampled_from([0, 0.01]),
    norm=st.sampled_from(["L1", "L2"]),
    clip=st.sampled_from([-1, 0.5]),
    divisor=st.sampled_from([1, 3]),
    keep=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_rules_follow_the_formulas(kind, seed, momentum, decay, norm, clip, divisor, keep):
    momentum = 0 if kind in ("AdaGrad", "RMSProp") else momentum
    doc = document(
        type=f'"{kind}"',
        momentum=momentum,
        weight_decay=decay,
        regularization_type=f'"{norm}"',
        clip_gradients=clip,
        delta=1e-4,
    )
    draw = np.random.default_rng(seed)
    multipliers = [(1, 1), (2, 0), (0, 1), (0.5, 3)]
    start = [draw.normal(size=(3, 5)).astype("f4") for _ in multipliers]
    learned = [
        Learned(str(i), torch.nn.Parameter(torch.tensor(w)), *m)
        for i, (w, m) in enumerate(zip(start, multipliers, strict=True))
    ]
    update = Update(doc, learned)
    weights = [w.astype("f8") for w in start]
    history = [[np.zeros(w.shape) for _ in range(update.rule.sets)] for w in start]
    for t in range(1, 5):
        grads = [draw.normal(size=(3, 5)).astype("f4") for _ in start]
        rate = 0.1 / t
        for p, g in zip(learned, grads, strict=True):
            p.tensor.grad = torch.tensor(g)
        update.apply(rate, t - 1, divisor, keep)
        norm_all = math.sqrt(sum(float((g.astype("f8") ** 2).sum()) for g in grads))
        scale = (clip / norm_all if 0 <= clip < norm_all else 1) / divisor
        for i, (lr_mult, decay_mult) in enumerate(multipliers):
            if lr_mult or kind not in ("SGD", "Nesterov"):
                w = weights[i]
                g = scale * grads[i] + decay * decay_mult * (w if norm == "L2" else np.sign(w))
                weights[i] = reference(kind, doc.message, w, g, history[i], rate * lr_mult, t)
                if keep and lr_mult:
                    np.testing.assert_allclose(learned[i].tensor.grad, w - weights[i], rtol=2e-4, atol=1e-5)
    for i, p in enumerate(learned):
        np.testing.assert_allclose(p.tensor.detach(), weights[i], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(learned[2].tensor.detach(), start[2])
    flat = [history[i][s] for s in range(update.rule.sets) for i in range(len(start))]
    for mine, want in zip(update.stored(), flat, strict=True):
        np.testing.assert_allclose(mine, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", RULES)
def test_pieces_change_nothing(kind, monkeypatch):
    """Arrays cut for the cache give what whole ones give."""
    results = []
    for size in (7, 1 << 17):
        monkeypatch.setattr(rules, "PIECE", size)
        torch.manual_seed(1)
        learned = [Learned(str(i), torch.nn.Parameter(torch.randn(n, 4))) for i, n in enumerate((1, 9, 2))]
        update = Update(document(type=f'"{kind}"', momentum=0, weight_decay=0.1), learned)
        for i in range(3):
            for p in learned:
                p.tensor.grad = torch.randn(p.tensor.shape)
            update.apply(0.1, i, 1)
        results.append([p.tensor.detach() for p in learned] + update.stored())
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rate", [1e-14, 0.99e-7, 1.01e-7, 1e-3, 1.5])
def test_rates_of_all_sizes_keep_their_digits(rate):
    w = torch.nn.Parameter(torch.zeros(1))
    update = Update(document(type='"SGD"', momentum=0.9), [Learned("w", w)])
    w.grad = torch.tensor([3e5])
    update.apply(rate, 0, 1)
    assert update.stored()[0].item() == pytest.approx(3e5 * rate, rel=3e-7)


def test_a_parameter_without_gradient_still_decays():
    w = torch.nn.Parameter(torch.ones(2))
    Update(document(type='"SGD"', momentum=0.5, weight_decay=0.1), [Learned("w", w)]).apply(1.0, 0, 1)
    torch.testing.assert_close(w.detach(), torch.full((2,), 0.9))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": '"SDG"'}, "did you mean 'SGD'"),
        ({"type": '"AdaGrad"', "momentum": 0.9}, "momentum cannot be used with AdaGrad"),
        ({"type": '"RMSProp"', "momentum": 0.9}, "momentum cannot be used with RMSProp"),
        ({"momentum": 1.5}, "momentum 1.5 is not in"),
        ({"regularization_type": '"L3"'}, "known: L1, L2"),
    ],
)
def test_what_a_rule_cannot_honour(fields, message):
    with pytest.raises(SpecError, match=message) as error:
        rules.make_rule(document(**fields))
    assert error.value.loc.line
