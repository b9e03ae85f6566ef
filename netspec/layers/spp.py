"""SPP: spatial pyramid pooling, a fixed number of values from an image of any size."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec import schema
from netspec.layers.base import Layer, Shape
from netspec.layers.pooling import pool
from netspec.layers.window import Window
from netspec.lazytorch import torch


class SPP(Layer):
    """top = the bottom pooled to 1 x 1, 2 x 2, 4 x 4, ... cells, pyramid_height of them, one after the other.

    A level of b x b cells has windows of ceil(size / b), side by side, with what is too much as padding around.
    Shapes: N x C x H x W -> N x C · (1 + 4 + 16 + ...), or N x C x 1 x 1 for a pyramid of height 1.
    Errors: pyramid_height missing or 0; a bottom that has not four axes, or fewer than 2^(pyramid_height − 1) rows or
        columns by more than padding less than a kernel makes up for.
    Source: Caffe's SPP (He et al. 2014).
    """

    settings = "spp_param"
    reusable_top = True

    def setup(self) -> None:
        if not 1 <= self.p.pyramid_height <= 31:
            raise self.fail(f"pyramid_height {self.p.pyramid_height} must be 1 to 31", "pyramid_height")
        self.method = schema.enum_name(self.p, "pool")

    def levels(self, size: Shape) -> list[Window]:
        """One window per level."""
        windows = []
        for level in range(self.p.pyramid_height):
            cells = 2**level
            kernel = tuple(-(-n // cells) for n in size)
            pad = tuple((k * cells - n + 1) // 2 for n, k in zip(size, kernel, strict=True))
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                raise self.fail(f"{list(size)} cannot be divided into {cells} x {cells} windows", "pyramid_height")
            if any(pad) and self.method == "STOCHASTIC":
                raise self.fail(f"pool STOCHASTIC takes no padding, which {list(size)} over {cells} needs", "pool")
            windows.append(Window(kernel, kernel, pad, (1, 1)))
        return windows

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom = bottoms[0]
        if len(bottom) != 4:
            raise self.fail(f"bottom {list(bottom)} must have four axes: images, channels, height, width")
        if min(bottom[2:]) < 1:
            raise self.fail(f"bottom {list(bottom)} is empty")
        height = len(self.levels(bottom[2:]))
        if height == 1:
            return [(*bottom[:2], 1, 1)]
        return [(bottom[0], bottom[1] * sum(4**level for level in range(height)))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, train = bottoms[0], self.phase == "TRAIN"
        windows = enumerate(self.levels(tuple(x.shape[2:])))
        levels = [pool(self.method, x, window, (2**level, 2**level), train)[0] for level, window in windows]
        return levels if len(levels) == 1 else [torch.cat([level.flatten(1) for level in levels], 1)]

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(bottoms[0]) * self.p.pyramid_height if self.method == "AVE" else 0
