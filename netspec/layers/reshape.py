"""Reshape: the same values in another shape."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Shape, count
from netspec.layers.view import View


class Reshape(View):
    """top = bottom with num_axes axes from `axis` on replaced by `shape`: 0 copies the axis, −1 takes what is left.

    Shapes: any -> as many values. num_axes −1 replaces all axes from `axis` on, 0 inserts; a negative axis counts from
        behind the last.
    Errors: several −1, a dimension below −1, an axis outside the bottom, a 0 without an axis to copy, another number
        of values, use in place.
    Source: Caffe's Reshape. Caffe's top shares the bottom's memory; here a later change in place of the top never
        shows in the bottom.
    """

    settings = "reshape_param"

    def setup(self) -> None:
        super().setup()
        self.dims: tuple[int, ...] = tuple(self.p.shape.dim)
        if self.dims.count(-1) > 1:
            raise self.fail(f"shape {list(self.dims)} has several -1; one is allowed", "shape.dim")
        if min(self.dims, default=0) < -1:
            raise self.fail(f"shape {list(self.dims)} has a dimension below -1", "shape.dim")
        if self.p.num_axes < -1:
            raise self.fail(f"num_axes {self.p.num_axes} must be -1 or more", "num_axes")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        start, end = self.replaced(shape)
        middle = [self.copied(shape, start + i) if n == 0 else n for i, n in enumerate(self.dims)]
        if -1 in middle:
            middle[middle.index(-1)] = self.left(shape, start, end, -count(middle))
        top = (*shape[:start], *middle, *shape[end:])
        if count(top) != count(shape):
            raise self.fail(f"bottom {list(shape)} has another number of values than {list(top)}", "shape.dim")
        return [top]

    def replaced(self, shape: Shape) -> tuple[int, int]:
        """The first axis replaced and the first after those."""
        axes, axis = len(shape), self.p.axis
        start = axis if axis >= 0 else axes + axis + 1
        if not 0 <= start <= axes:
            raise self.fail(f"axis {axis} is outside a bottom of {axes} axes {list(shape)}", "axis")
        end = axes if self.p.num_axes == -1 else start + self.p.num_axes
        if end > axes:
            raise self.fail(f"axis {axis} and num_axes {self.p.num_axes} exceed the bottom {list(shape)}", "num_axes")
        return start, end

    def copied(self, shape: Shape, axis: int) -> int:
        if axis >= len(shape):
            raise self.fail(f"a dimension 0 copies axis {axis}, but the bottom is {list(shape)}", "shape.dim")
        return shape[axis]

    def left(self, shape: Shape, start: int, end: int, given: int) -> int:
        """What a −1 stands for, next to `given` values of the other new axes."""
        fixed = given * count(shape, 0, start) * count(shape, end)
        if fixed == 0 or count(shape) % fixed:
            raise self.fail(
                f"bottom {list(shape)} has {count(shape)} values, no multiple of the {fixed} beside -1", "shape.dim"
            )
        return count(shape) // fixed
