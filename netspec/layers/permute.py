"""Permute: a blob's axes in another order."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Permute(Layer):
    """top axis i = bottom axis order[i]; axes that `order` does not name follow in their own order.

    Shapes: any -> its sizes in the new order.
    Errors: an axis outside the bottom, an axis named twice.
    Source: SSD's Permute (Liu et al. 2016).
    """

    settings = "permute_param"
    aliases = True

    def setup(self) -> None:
        order = list(self.p.order)
        for axis in order:
            if order.count(axis) > 1:
                raise self.fail(f"axis {axis} is named twice in the order {order}", "order")

    def order(self, axes: int) -> list[int]:
        """The bottom's axes as the top has them."""
        given = list(self.p.order)
        return given + [axis for axis in range(axes) if axis not in given]

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for axis in self.p.order:
            if axis >= len(bottoms[0]):
                raise self.fail(f"axis {axis} is outside the bottom {list(bottoms[0])}", "order")
        return [tuple(bottoms[0][axis] for axis in self.order(len(bottoms[0])))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [bottoms[0].permute(self.order(bottoms[0].ndim))]
