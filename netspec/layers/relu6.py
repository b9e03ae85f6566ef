"""ReLU6: rectification, cut off at 6."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import F, torch


class ReLU6(Elementwise):
    """y = min(max(x, 0), 6).

    Shapes: any -> the same.
    Errors: a negative_slope, which the forks that have the field do not use alike.
    Source: the ReLU6 of MobileNet's forks; at 0 and 6 the gradient is 0.
    """

    settings = "relu6_param"

    def setup(self) -> None:
        if self.p.negative_slope:
            raise self.fail("negative_slope is not supported; it must be 0", "negative_slope")

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu6(x, inplace=self.overwrite)
