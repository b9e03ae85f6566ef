"""ReLU: rectification."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import F, torch


class ReLU(Layer):
    """y = max(x, 0) + negative_slope · min(x, 0).

    Shapes: any -> the same.
    Source: Caffe's ReLU; at 0 the gradient is negative_slope's.
    """

    settings = "relu_param"
    rereads = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        slope = self.p.negative_slope
        if slope:
            return [F.leaky_relu(bottoms[0], slope)]
        return [F.relu_(bottoms[0]) if self.overwrite else F.relu(bottoms[0])]

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return True
