"""A window that slides over spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from netspec.ir.coords import CoordMap, coord_map

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Per spatial axis: kernel, stride, padding on both sides, dilation."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def extent(self) -> tuple[int, ...]:
        """The cells from the first tap to the last: dilation * (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def down(self, size: Sequence[int]) -> Shape:
        """floor((size + 2 pad - extent) / stride) + 1 per axis."""
        rows = zip(size, self.extent(), self.stride, self.pad, strict=True)
        return tuple((n + 2 * p - e) // s + 1 for n, e, s, p in rows)

    def up(self, size: Sequence[int]) -> Shape:
        """stride (size - 1) + extent - 2 pad per axis: the inverse of `down`."""
        rows = zip(size, self.extent(), self.stride, self.pad, strict=True)
        return tuple(s * (n - 1) + e - 2 * p for n, e, s, p in rows)

    def down_map(self, axis: int) -> CoordMap:
        """scale 1 / stride, shift (pad - (extent - 1) / 2) / stride."""
        rows = list(zip(self.extent(), self.stride, self.pad, strict=True))
        scale, shift = [Fraction(1, s) for _, s, _ in rows], [(p - Fraction(e - 1, 2)) / s for e, s, p in rows]
        return spatial_map(axis, scale, shift)

    def up_map(self, axis: int) -> CoordMap:
        """scale stride, shift (extent - 1) / 2 - pad."""
        rows = list(zip(self.extent(), self.stride, self.pad, strict=True))
        return spatial_map(axis, [s for _, s, _ in rows], [Fraction(e - 1, 2) - p for e, _, p in rows])


def spatial_map(axis: int, scale: Sequence[Fraction | int], shift: Sequence[Fraction | int]) -> CoordMap:
    """A map of the axes after `axis`; what one counted from the end is depends on the bottom, so it fits any."""
    m = coord_map(axis, scale, shift)
    return m if axis >= 0 else replace(m, axis=None)
