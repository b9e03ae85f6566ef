"""SpatialDropout: whole channels dropped in training."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import F, torch


class SpatialDropout(Layer):
    """y[n, c] = 0 with probability dropout_ratio, else x[n, c] / (1 − dropout_ratio); in the TEST phase y = x.

    Shapes: N x C x any -> the same.
    Errors: a dropout_ratio outside 0 ... 1 (1 excluded); a bottom of fewer than three axes.
    Source: ENet's SpatialDropout (Tompson et al. 2015). ENet's own code draws once per batch and reaches only some
        places; here every channel of every image is drawn, as the paper says.
    """

    settings = "spatial_dropout_param"
    aliases = True

    def setup(self) -> None:
        if not 0 <= self.p.dropout_ratio < 1:
            raise self.fail(
                f"dropout_ratio {self.p.dropout_ratio:g} must be at least 0 and less than 1", "dropout_ratio"
            )

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) < 3:
            raise self.fail(f"bottom {list(bottoms[0])} must have at least three axes: images, channels, places")
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        if self.phase == "TEST":
            return [x.view_as(x)]
        kept = F.dropout(x.new_ones(*x.shape[:2], *[1] * (x.ndim - 2)), self.p.dropout_ratio, True)
        return [x * kept]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return self.phase == "TEST"
