"""PReLU: rectification with a learned slope."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec import schema
from netspec.layers.base import ParamBlob, Shape
from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import F, torch

DEFAULT_SLOPE = 0.25


class PReLU(Elementwise):
    """y = max(x, 0) + slope · min(x, 0), one slope per channel (axis 1), or one for all.

    Shapes: two to four axes -> the same.
    Blobs: slope (channels; no axes with channel_shared), filled with 0.25 unless `filler` says otherwise.
    Errors: a bottom of fewer than two or more than four axes.
    Source: Caffe's PReLU (He et al. 2015); at 0 the gradient is the slope.
    """

    settings = "prelu_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if not 2 <= len(bottoms[0]) <= 4:
            raise self.fail(f"bottom {list(bottoms[0])} has {len(bottoms[0])} axes; 2 to 4 are allowed")
        return [bottoms[0]]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        constant = schema.new("FillerParameter", type="constant", value=DEFAULT_SLOPE)
        filler = self.p.filler if self.p.HasField("filler") else constant
        return [ParamBlob("slope", () if self.p.channel_shared else (bottoms[0][1],), filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [F.prelu(bottoms[0], params[0].reshape(-1))]

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0])
