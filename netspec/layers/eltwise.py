"""Eltwise: sum, product or maximum of blobs, value by value."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape, same_shape
from netspec.lazytorch import torch


class Eltwise(Layer):
    """y = Σ coeff_i x_i (SUM, the default), Π x_i (PROD) or the greatest x_i (MAX), value by value.

    MAX: of the first two bottoms the second wins a tie, a later one must be greater; the gradient goes to the winner.
    PROD: the gradient is the product of the other factors, whatever stable_prod_grad says (false is y / x_i in Caffe,
    the same but for zeros).
    Shapes: equal ones -> the same.
    Errors: fewer than two bottoms; shapes that differ; coeff for PROD, or not one per bottom.
    Source: Caffe's Eltwise.
    """

    settings = "eltwise_param"
    bottoms = (2, None)
    reusable_top = True

    def setup(self) -> None:
        self.operation = schema.enum_name(self.p, "operation")
        self.coeff = list(self.p.coeff)
        if self.coeff and self.operation == "PROD":
            raise self.fail("coeff is for operation SUM, not PROD", "coeff")
        if self.coeff and len(self.coeff) != len(self.proto.bottom):
            raise self.fail(
                f"coeff is given {counted(len(self.coeff), 'time')} for {len(self.proto.bottom)} bottoms", "coeff"
            )

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for index in range(1, len(bottoms)):
            same_shape(self, bottoms, 0, index)
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        combine = {"SUM": self.sum, "PROD": product, "MAX": greatest}[self.operation]
        return [combine(bottoms)]

    def sum(self, bottoms: Sequence[torch.Tensor]) -> torch.Tensor:
        coeff = self.coeff or [1.0] * len(bottoms)
        y = bottoms[0] if coeff[0] == 1 else bottoms[0] * coeff[0]
        fresh = self.overwrite or coeff[0] != 1
        for x, c in zip(bottoms[1:], coeff[1:], strict=True):
            y = y.add_(x, alpha=c) if fresh else y.add(x, alpha=c)
            fresh = True
        return y

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        if self.operation == "SUM":
            return prod(tops[0]) * len(bottoms) if self.coeff else 0
        return prod(tops[0]) * (len(bottoms) - 1) if self.operation == "PROD" else 0


def product(bottoms: Sequence[torch.Tensor]) -> torch.Tensor:
    y = bottoms[0]
    for x in bottoms[1:]:
        y = y * x
    return y


def greatest(bottoms: Sequence[torch.Tensor]) -> torch.Tensor:
    y = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
    for x in bottoms[2:]:
        y = torch.where(x > y, x, y)
    return y
