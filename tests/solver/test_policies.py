"""Rates against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec import schema
from netspec.errors import SpecError
from netspec.solver import policies, settings
from netspec.spec import text


def param(**fields):
    return schema.new("SolverParameter", base_lr=0.5, **fields)


@given(st.integers(0, 5000))
def test_policies_are_their_closed_forms(i):
    gamma, power = 0.5, 0.75
    cases = {
        "fixed": 0.5,
        "step": 0.5 * gamma ** (i // 70),
        "exp": 0.5 * gamma**i,
        "inv": 0.5 * (1 + gamma * i) ** -power,
        "poly": 0.5 * (1 - i / 5000) ** power,
        "sigmoid": 0.5 / (1 + math.exp(min(-gamma * (i - 70), 700))),
        "multistep": 0.5 * gamma ** ((i >= 10) + (i >= 300) + (i >= 1200)),
    }
    for policy, want in cases.items():
        p = param(lr_policy=policy, gamma=gamma, power=power, stepsize=70, max_iter=5000, stepvalue=[10, 300, 1200])
        assert policies.rate(p, i) == pytest.approx(want, rel=1e-12, abs=1e-300)


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(0, 40))
def test_multistep_passes_one_stepvalue_an_iteration(values, last):
    values = sorted(values)
    step = 0
    for i in range(last + 1):
        if step < len(values) and i >= values[step]:
            step += 1
    assert policies.passed(values, last) == step


def test_a_rate_past_max_iter_is_zero():
    assert policies.rate(param(lr_policy="poly", power=0.9, max_iter=10), 12) == 0


@pytest.mark.parametrize(
    ("fields", "line", "message"),
    [
        ('lr_policy: "stpe"', 2, "did you mean 'step'?"),
        ("gamma: 1", 1, "lr_policy is missing"),
        ('lr_policy: "step"', 1, "needs stepsize"),
        ('lr_policy: "poly"\nmax_iter: 0', 3, "needs max_iter of at least 1"),
        ('lr_policy: "multistep"\nstepvalue: 20\nstepvalue: 10', 3, "must rise"),
        ('lr_policy: "fixed"\niter_size: 0', 3, "iter_size 0 is less than 1"),
        ('lr_policy: "fixed"\ndisplay: -1', 3, "display -1 is less than 0"),
        ('lr_policy: "fixed"\ntrain_net: "b"', 3, "net and train_net are given"),
        ('lr_policy: "fixed"\ntest_iter: 2', 3, "needs a test_interval"),
        (
            'lr_policy: "fixed"\ntest_interval: 2\ntest_iter: 2\ntest_net: "a"\ntest_net: "b"',
            4,
            "1 time for 2 test nets",
        ),
        (
            'lr_policy: "fixed"\ntest_interval: 2\ntest_iter: 2\ntest_state {}\ntest_state {}',
            5,
            "test_state is given 2",
        ),
        ('lr_policy: "fixed"\nnet_param {}', 3, "net and net_param"),
    ],
)
def test_settings_that_no_run_could_honour(fields, line, message):
    document = text.parse(f'net: "a"\n{fields}', "s.prototxt", "SolverParameter")
    with pytest.raises(SpecError) as error:
        settings.read(document)
    assert message in error.value.message
    assert str(error.value.loc).startswith(f"s.prototxt:{line}")


def test_overrides_replace_fields_and_name_what_is_wrong():
    document = text.parse('net: "a" lr_policy: "fixed" base_lr: 1 stepvalue: 3', "s.prototxt", "SolverParameter")
    new = settings.read(document, ["base_lr=1e-10", "lr_policy=multistep", "stepvalue=[10, 20]", "net=b.prototxt"])
    assert new.message.base_lr == pytest.approx(1e-10)
    assert (new.message.lr_policy, list(new.message.stepvalue), new.message.net) == (
        "multistep",
        [10, 20],
        "b.prototxt",
    )
    assert settings.read(document, {"stepvalue": [1, 2], "debug_info": True}).message.debug_info
    assert document.message.base_lr == 1
    for wrong, words in (("bse_lr=1", "did you mean 'base_lr'"), ("base_lr", "field=value"), ("max_iter=x", "integer")):
        with pytest.raises(SpecError, match=words):
            settings.read(document, [wrong])
