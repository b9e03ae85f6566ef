"""The algebra of coordinate maps: how a position in a layer's bottom relates to one in its top.

A map is (axis, scale, shift): along every axis after `axis`, top = scale * bottom + shift. Axis None stands for
any axis, so that the identity of an elementwise layer fits every map. Fractions keep it exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from netspec.errors import SpecError


@dataclass(frozen=True)
class CoordMap:
    """One scale and one shift per spatial axis; a single pair stands for all of them."""

    axis: int | None
    scale: tuple[Fraction, ...]
    shift: tuple[Fraction, ...]


IDENTITY = CoordMap(None, (Fraction(1),), (Fraction(0),))


def coord_map(axis: int, scale: Sequence[Fraction | int], shift: Sequence[Fraction | int]) -> CoordMap:
    """A map from numbers of any kind."""
    return CoordMap(axis, tuple(Fraction(s) for s in scale), tuple(Fraction(s) for s in shift))


def compose(first: CoordMap, second: CoordMap) -> CoordMap:
    """second after first: scale = s2 * s1, shift = s2 * t1 + t2."""
    if first.axis is None or second.axis is None:
        axis = second.axis if first.axis is None else first.axis
    elif first.axis == second.axis:
        axis = first.axis
    else:
        raise SpecError(f"coordinate maps start at axes {first.axis} and {second.axis}, which do not match")
    n = max(len(first.scale), len(second.scale))
    s1, t1, s2, t2 = (widen(v, n) for v in (first.scale, first.shift, second.scale, second.shift))
    scale = tuple(b * a for a, b in zip(s1, s2, strict=True))
    shift = tuple(b * t + u for t, b, u in zip(t1, s2, t2, strict=True))
    return CoordMap(axis, scale, shift)


def inverse(m: CoordMap) -> CoordMap:
    """The map back: scale = 1 / s, shift = -t / s."""
    return CoordMap(m.axis, tuple(1 / s for s in m.scale), tuple(-t / s for s, t in zip(m.scale, m.shift, strict=True)))


def widen(values: tuple[Fraction, ...], n: int) -> tuple[Fraction, ...]:
    """A single value repeated for n axes."""
    if len(values) not in (1, n):
        raise SpecError(f"coordinate maps of {len(values)} and {n} axes do not match")
    return values if len(values) == n else values * n


def equal(a: CoordMap, b: CoordMap) -> bool:
    """The same map, where one pair may stand for several axes."""
    n = max(len(a.scale), len(b.scale))
    same_axis = a.axis is None or b.axis is None or a.axis == b.axis
    return same_axis and widen(a.scale, n) == widen(b.scale, n) and widen(a.shift, n) == widen(b.shift, n)
