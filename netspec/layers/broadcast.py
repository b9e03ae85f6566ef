"""Values that stand for a run of axes of a blob: what Scale and Bias share."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.lazytorch import torch


class AlongAxes(Layer, abstract=True):
    """One value for each place of some axes of bottom 0: learned ones, or bottom 1.

    Learned values cover num_axes axes from `axis` (-1: to the end, 0: one value for all). Bottom 1 covers as many axes
    as it has, from `axis` on.
    """

    bottoms = (1, 2)
    reusable_top = True

    def setup(self) -> None:
        if self.p.num_axes < -1:
            raise self.fail(f"num_axes {self.p.num_axes} must be at least 0, or -1 for all to the end", "num_axes")

    def cover(self, bottoms: Sequence[Shape]) -> tuple[int, Shape]:
        """The first axis covered, and the shape of the values."""
        whole = bottoms[0]
        axes = len(bottoms[1]) if len(bottoms) > 1 else self.p.num_axes
        if axes == 0:
            return 0, ()
        axis = canonical_axis(self, self.p.axis, whole)
        if axis + max(axes, 0) > len(whole):
            field = None if len(bottoms) > 1 else "num_axes"
            raise self.fail(f"{axes} axes from axis {axis} go past bottom 0 {list(whole)}", field)
        return axis, whole[axis:] if axes == -1 else whole[axis : axis + axes]

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        axis, shape = self.cover(bottoms)
        if len(bottoms) > 1 and bottoms[1] != shape:
            raise self.fail(f"bottom 1 {list(bottoms[1])} does not match bottom 0 {list(bottoms[0])} from axis {axis}")
        return [bottoms[0]]

    def spread(self, values: torch.Tensor, bottoms: Sequence[torch.Tensor]) -> torch.Tensor:
        """The values with axes of size 1 behind them, so that they broadcast over bottom 0."""
        axis, shape = self.cover([tuple(b.shape) for b in bottoms])
        return values.reshape(*shape, *[1] * (bottoms[0].ndim - axis - len(shape)))

    def pixelwise(self) -> bool:
        return len(self.proto.bottom) == 1 and self.p.axis == 1 and self.p.num_axes == 1
