"""Im2col: the windows of a convolution, laid out in channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.ir.coords import CoordMap
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.layers.spatial import declared_window, read_window
from netspec.layers.window import Window
from netspec.lazytorch import F, torch


class Im2col(Layer):
    """top[n, (c, window), place] = bottom[n, c, stride · place + dilation · window − pad]; outside the bottom it is 0.

    Shapes: N x C x size -> N x (C · kernel) x floor((size + 2 pad − extent) / stride) + 1, any number of spatial axes;
        channels are at `axis`, axes before it are batch.
    Errors: missing kernel_size; no spatial axis; a kernel larger than the padded bottom.
    Source: Caffe's Im2col.
    """

    settings = "convolution_param"
    reusable_top = True

    def window(self, bottom: Shape) -> tuple[int, Window]:
        """The channel axis and the window over the axes after it."""
        axis = canonical_axis(self, self.p.axis, bottom)
        if axis + 1 == len(bottom):
            raise self.fail(f"bottom {list(bottom)} has no axes after axis {axis}", "axis")
        return axis, read_window(self, len(bottom) - axis - 1)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom = bottoms[0]
        axis, window = self.window(bottom)
        out = window.down(bottom[axis + 1 :])
        if min(out) < 1:
            extent, pad = list(window.extent()), list(window.pad)
            raise self.fail(f"kernel {extent} does not fit bottom {list(bottom)} with pad {pad}", "kernel_size")
        return [(*bottom[:axis], bottom[axis] * prod(window.kernel), *out)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        shape = tuple(bottoms[0].shape)
        axis, window = self.window(shape)
        x = F.pad(bottoms[0], [p for pad in reversed(window.pad) for p in (pad, pad)])
        axes = len(window.kernel)
        for i, (extent, stride) in enumerate(zip(window.extent(), window.stride, strict=True), axis + 1):
            x = x.unfold(i, extent, stride)
        x = x[(..., *(slice(None, None, d) for d in window.dilation))]
        places, taps = range(axis + 1, axis + 1 + axes), range(axis + 1 + axes, axis + 1 + 2 * axes)
        return [x.permute(*range(axis + 1), *taps, *places).reshape(self.shapes([shape])[0])]

    def coord_map(self) -> CoordMap:
        return declared_window(self).down_map(self.p.axis)

    def reach(self) -> tuple[int, ...]:
        return declared_window(self).extent()
