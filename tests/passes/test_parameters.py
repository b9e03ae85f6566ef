"""parameters: sharing by name, multipliers, and what is refused."""

from __future__ import annotations

import pytest
from pass_nets import input, ip, layer, tables

from netspec.errors import SpecError

X = input("x", 2, 4)


def rates(source: str) -> list[tuple[int, float, float, bool]]:
    return [(p.owner, p.lr_mult, p.decay_mult, p.learns) for p in tables(X + source)[1]]


def test_own():
    assert rates(ip("a", "x", 4, "param { lr_mult: 2 decay_mult: 0 }")) == [(0, 2, 0, True), (1, 1, 1, True)]


def test_shared_with_multipliers_of_either():
    source = ip("a", "x", 4, 'param { name: "w" }') + ip("b", "a", 4, 'param { name: "w" lr_mult: 3 decay_mult: 0 }')
    assert rates(source) == [(0, 3, 0, True), (1, 1, 1, True), (0, 3, 0, True), (3, 1, 1, True)]


def test_a_sharer_may_be_left_out_of_the_gradient():
    source = ip("a", "x", 4, 'param { name: "w" lr_mult: 0 }') + ip("b", "a", 4, 'param { name: "w" }')
    assert [p[3] for p in rates(source)] == [False, True, True, True]


def test_statistics_do_not_learn():
    assert rates(layer("BatchNorm", "n", "x")) == [(i, 0, 0, False) for i in range(3)]


def test_permissive_sharing():
    shared = ip("a", "x", 6, 'param { name: "w" }') + ip("b", "a", 4, 'param { name: "w" share_mode: PERMISSIVE }')
    assert [p[0] for p in rates(shared)] == [0, 1, 0, 3]


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        (layer("TanH", "a", "x", None, "param { lr_mult: 2 }"), 2, "has 1 param entries for 0 parameter blobs"),
        (ip("a", "x", 4, "param {} param {} param {}"), 2, "has 3 param entries for 2 parameter blobs"),
        (
            ip("a", "x", 6, 'param { name: "w" }') + ip("b", "a", 4, 'param { name: "w" }'),
            3,
            "shared param 'w' has shape [4, 6], its owner [6, 4]; sharing wants the same shape",
        ),
        (
            ip("a", "x", 4, 'param { name: "w" lr_mult: 2 }') + ip("b", "a", 4, 'param { name: "w" lr_mult: 3 }'),
            3,
            "shared param 'w' has lr_mult 2 elsewhere and 3 here",
        ),
        (
            ip("a", "x", 4, 'param { name: "w" decay_mult: 0 }') + ip("b", "a", 4, 'param { name: "w" decay_mult: 1 }'),
            3,
            "shared param 'w' has decay_mult 0 elsewhere and 1 here",
        ),
    ],
)
def test_refused(source, line, message):
    with pytest.raises(SpecError) as caught:
        tables(X + source)
    assert message in caught.value.message
    assert caught.value.loc is not None and caught.value.loc.line == line


def test_permissive_wants_as_many_values():
    source = ip("a", "x", 5, 'param { name: "w" }') + ip("b", "a", 3, 'param { name: "w" share_mode: PERMISSIVE }')
    with pytest.raises(SpecError, match="sharing wants as many values"):
        tables(X + source)
