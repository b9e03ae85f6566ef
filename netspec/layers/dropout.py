"""Dropout: random zeros in training."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import F, torch


class Dropout(Layer):
    """y = 0 with probability dropout_ratio, else x / (1 − dropout_ratio); in TEST y = x, unless sample_weights_test.

    With scale_train: false, as some forks have it, what stays is x in TRAIN and all is (1 − dropout_ratio) x in TEST.
    Shapes: any -> the same.
    Errors: a dropout_ratio outside 0 ... 1 (1 excluded); scale_test.
    Source: Caffe's Dropout (Srivastava et al. 2014); sample_weights_test is Bayesian SegNet's.
    """

    settings = "dropout_param"
    aliases = True

    def setup(self) -> None:
        if not 0 <= self.p.dropout_ratio < 1:
            raise self.fail(
                f"dropout_ratio {self.p.dropout_ratio:g} must be at least 0 and less than 1", "dropout_ratio"
            )
        if self.p.HasField("scale_test"):
            raise self.fail("scale_test is not supported; scale_train: false scales in TEST", "scale_test")
        self.drops = self.phase == "TRAIN" or self.p.sample_weights_test

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, stay = bottoms[0], 1 - self.p.dropout_ratio
        if not self.drops:
            return [x.view_as(x) if self.p.scale_train else x * stay]
        y = dropped(x, self.p.dropout_ratio, self.overwrite)
        return [y if self.p.scale_train else y * stay]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return not self.drops


def dropped(x: torch.Tensor, ratio: float, overwrite: bool) -> torch.Tensor:
    """x / (1 − ratio), or 0 with probability `ratio`. On the CPU torch's own draws its numbers one by one."""
    if x.device.type != "cpu":
        return F.dropout(x, ratio, True, overwrite)
    kept = (torch.rand_like(x, dtype=torch.float32) >= ratio).to(x.dtype).mul_(1 / (1 - ratio))
    return x.mul_(kept) if overwrite else x * kept
