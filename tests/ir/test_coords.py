"""Coordinate maps: composition, inverse, axes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from netspec.errors import SpecError
from netspec.ir.coords import IDENTITY, compose, coord_map, equal, inverse

DOWN = coord_map(1, [Fraction(1, 2)], [Fraction(-1, 4)])
UP = coord_map(1, [4, 2], [1, 3])


def test_compose_applies_the_first_first() -> None:
    m = compose(DOWN, UP)
    assert m.scale == (2, 1) and m.shift == (Fraction(0), Fraction(5, 2))


@pytest.mark.parametrize("m", [DOWN, UP, IDENTITY])
def test_inverse_undoes(m: object) -> None:
    assert equal(compose(m, inverse(m)), IDENTITY)  # type: ignore[arg-type]
    assert equal(compose(inverse(m), m), IDENTITY)  # type: ignore[arg-type]


def test_identity_fits_every_axis() -> None:
    assert compose(IDENTITY, DOWN) == DOWN == compose(DOWN, IDENTITY)


def test_one_pair_stands_for_all_axes() -> None:
    assert equal(coord_map(1, [2], [1]), coord_map(1, [2, 2], [1, 1]))
    assert not equal(coord_map(1, [2], [1]), coord_map(1, [2, 2], [1, 0]))
    assert not equal(coord_map(1, [2], [1]), coord_map(2, [2], [1]))


def test_misfits() -> None:
    with pytest.raises(SpecError, match="axes 1 and 2"):
        compose(coord_map(1, [1], [0]), coord_map(2, [1], [0]))
    with pytest.raises(SpecError, match="2 and 3 axes"):
        compose(coord_map(1, [1, 1], [0, 0]), coord_map(1, [1] * 3, [0] * 3))
