"""Deconvolution: the transpose of convolution, chiefly for upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.ir.coords import CoordMap
from netspec.layers.base import Shape
from netspec.layers.convolution import ConvolutionBase
from netspec.layers.spatial import declared_window


class Deconvolution(ConvolutionBase):
    """top[n, o, stride · place + dilation · window − pad] += Σ_c weight[c, o, window] · bottom[n, c, place].

    The top starts as bias[o].

    Shapes: N x C x size -> N x num_output x stride (size − 1) + extent − 2 pad; channels are at `axis`, axes before it
        are batch.
    Blobs: weight (C x num_output/group x kernel), bias (num_output) unless bias_term is false.
    Errors: as Convolution; padding that leaves nothing of the top.
    Source: Caffe's Deconvolution. With stride over kernel the gaps hold the bias alone.
    """

    transposed = True

    def coord_map(self) -> CoordMap:
        return declared_window(self).up_map(self.p.axis)

    def reach(self) -> tuple[int, ...]:
        window = declared_window(self)
        return tuple(-(-e // s) for e, s in zip(window.extent(), window.stride, strict=True))

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(prod(bottom) * prod(self.params([bottom])[0].shape[1:]) for bottom in bottoms)
