"""Depthwise convolution: one filter per channel."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import ParamBlob, Shape
from netspec.layers.convolution import Convolution
from netspec.lazytorch import torch


class ConvolutionDepthwise(Convolution):
    """top[n, c] = bias[c] + Σ_window weight[c, 0, window] · bottom[n, c, stride · place + dilation · window − pad].

    Shapes: N x C x H x W -> N x C x floor((size + 2 pad − extent) / stride) + 1; num_output and group are ignored, both
        are C.
    Blobs: weight (C x 1 x kernel), bias (C) unless bias_term is false.
    Errors: axis other than 1; a bottom that has not four axes; a kernel missing or larger than the padded bottom.
    Source: the ConvolutionDepthwise of MobileNet's and ShuffleNet's forks.
    """

    def setup(self) -> None:
        if self.p.axis != 1:
            raise self.fail(f"axis {self.p.axis} is not supported; it must be 1", "axis")
        self.num_output, self.group = 0, 1

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.follow(bottoms[0])
        return super().shapes(bottoms)

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        self.follow(bottoms[0])
        return super().params(bottoms)

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        self.follow(tuple(bottoms[0].shape))
        return super().forward(bottoms, params)

    def slide(self, bottom: torch.Tensor, params: list[torch.Tensor], pad: tuple[int, ...]) -> torch.Tensor:
        self.follow(tuple(bottom.shape))
        return super().slide(bottom, params, pad)

    def follow(self, bottom: Shape) -> None:
        """As many filters and groups as the bottom has channels."""
        if len(bottom) != 4:
            raise self.fail(f"bottom {list(bottom)} must have four axes: images, channels, height, width")
        self.num_output = self.group = bottom[1]


class DepthwiseConvolution(Convolution):
    """Convolution whose group is the number of channels: top[n, o] sees channel o · C div num_output alone.

    Shapes: N x C x H x W -> N x num_output x floor((size + 2 pad − extent) / stride) + 1.
    Blobs: weight (num_output x 1 x kernel), bias (num_output) unless bias_term is false.
    Errors: as Convolution; a group other than the number of channels.
    Source: the DepthwiseConvolution of MobileNet's forks.
    """

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        tops = super().shapes(bottoms)
        channels = bottoms[0][self.window(bottoms[0])[0]]
        if self.group != channels:
            raise self.fail(f"group {self.group} must be the bottom's number of channels, {channels}", "group")
        return tops
