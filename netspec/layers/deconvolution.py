"""Deconvolution: the transpose of convolution, chiefly for upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.ir.coords import CoordMap
from netspec.layers.base import Shape
from netspec.layers.convolution import ConvolutionBase
from netspec.layers.spatial import declared_window
from netspec.layers.window import Window
from netspec.lazytorch import F, torch


class Deconvolution(ConvolutionBase):
    """top[n, o, stride · place + dilation · window − pad] += Σ_c weight[c, o, window] · bottom[n, c, place].

    The top starts as bias[o].

    Shapes: N x C x size -> N x num_output x stride (size − 1) + extent − 2 pad; channels are at `axis`, axes before it
        are batch.
    Blobs: weight (C x num_output/group x kernel), bias (num_output) unless bias_term is false.
    Errors: as Convolution; padding that leaves nothing of the top.
    Source: Caffe's Deconvolution. With stride over kernel the gaps hold the bias alone.
        Frozen weights that are bilinear kernels from each channel to itself are run as the interpolation they are.
    """

    transposed = True
    _checked: tuple[int, int, bool] | None = None

    def one(
        self, bottom: torch.Tensor, axis: int, window: Window, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if axis != 1 or not self.interpolates(window, weight):
            return super().one(bottom, axis, window, weight, bias)
        y = interpolate(bottom, window)
        return y if bias is None else y + bias[:, None, None]

    def interpolates(self, window: Window, weight: torch.Tensor) -> bool:
        """Whether the weights are frozen and bilinear; they are looked at again whenever they have changed."""
        square = len(window.kernel) == 2 and window.kernel[0] == window.kernel[1] and window.dilation == (1, 1)
        aligned = square and all(k == 2 * s - s % 2 for k, s in zip(window.kernel, window.stride, strict=True))
        if weight.requires_grad or not aligned or "interpolation" in self.context.no_pass:
            return False
        if torch.compiler.is_compiling() or weight.is_inference():
            return False
        if self._checked is None or self._checked[:2] != (weight.data_ptr(), weight._version):
            self._checked = (weight.data_ptr(), weight._version, bilinear_diagonal(weight, self.group))
        return self._checked[2]

    def coord_map(self) -> CoordMap:
        return declared_window(self).up_map(self.p.axis)

    def reach(self) -> tuple[int, ...]:
        window = declared_window(self)
        return tuple(-(-e // s) for e, s in zip(window.extent(), window.stride, strict=True))

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(prod(bottom) * prod(self.params([bottom])[0].shape[1:]) for bottom in bottoms)


def bilinear_diagonal(weight: torch.Tensor, group: int) -> bool:
    """Whether channel i goes to channel i only, through the bilinear kernel of factor ceil(k / 2)."""
    channels, per_group, size = weight.shape[:3]
    if per_group * group != channels:
        return False
    factor = (size + 1) // 2
    line = 1 - (torch.arange(size, device=weight.device) - (size - 1) / 2).abs() / factor
    want = torch.zeros_like(weight)
    rows = torch.arange(channels, device=weight.device)
    want[rows, rows % per_group] = (line[:, None] * line).to(weight)
    return bool(torch.allclose(weight, want, rtol=1e-6, atol=1e-7))


def interpolate(bottom: torch.Tensor, window: Window) -> torch.Tensor:
    """The same as the transposed convolution with those kernels: linear between cells, fading to 0 past the edge.

    A ring of zeros around the bottom makes the fading; what it adds beyond the top is cut off.
    """
    (height, width), (down, across) = bottom.shape[2:], window.stride
    ringed = F.pad(bottom.float() if bottom.dtype == torch.bfloat16 else bottom, (1, 1, 1, 1))
    whole = F.interpolate(ringed, ((height + 2) * down, (width + 2) * across), mode="bilinear", align_corners=False)
    out = window.up((height, width))
    top, left = (s - (k - s) // 2 + p for k, s, p in zip(window.kernel, window.stride, window.pad, strict=True))
    return whole[:, :, top : top + out[0], left : left + out[1]]
