"""Convolution: top = sum over channels and window of weight * bottom, plus bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import prod

from netspec.ir.coords import CoordMap
from netspec.layers import bands, large, winograd
from netspec.layers.base import Layer, ParamBlob, Shape, canonical_axis
from netspec.layers.packed import Packed
from netspec.layers.spatial import declared_window, read_window
from netspec.layers.window import Window
from netspec.lazytorch import F, torch

CONV = {1: "conv1d", 2: "conv2d", 3: "conv3d"}
CONV_TRANSPOSE = {1: "conv_transpose1d", 2: "conv_transpose2d", 3: "conv_transpose3d"}


class ConvolutionBase(Layer, abstract=True):
    """What Convolution and Deconvolution share: settings, checks, blobs. Any number of bottoms, each to its top."""

    settings = "convolution_param"
    bottoms = (1, None)
    tops = (1, None)
    same_count = True
    reusable_top = True
    transposed = False
    then_relu = False
    """Set by `freeze` where the ReLU in place behind this layer is computed with it."""

    def setup(self) -> None:
        p = self.p
        self.num_output: int = p.num_output
        self.group: int = p.group
        if self.num_output < 1:
            raise self.fail("num_output is missing or 0", "num_output")
        if self.group < 1 or self.num_output % self.group:
            raise self.fail(f"num_output {self.num_output} is no multiple of group {self.group}", "group")

    @cached_property
    def windows(self) -> dict[int, tuple[int, Window]]:
        """What `window` found, by the number of axes."""
        return {}

    def window(self, bottom: Shape) -> tuple[int, Window]:
        """The channel axis and the window over the axes after it: the same for all bottoms of as many axes."""
        if len(bottom) not in self.windows:
            axis = canonical_axis(self, self.p.axis, bottom)
            self.windows[len(bottom)] = axis, read_window(self, len(bottom) - axis - 1)
        return self.windows[len(bottom)]

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for shape in bottoms[1:]:
            if shape != bottoms[0]:
                raise self.fail(f"bottoms {list(bottoms[0])} and {list(shape)} differ in shape")
        axis, window = self.window(bottoms[0])
        size = bottoms[0][axis + 1 :]
        if len(size) not in CONV and len(size) != 0:
            raise self.fail(f"{len(size)} spatial axes; 1 to 3 are supported")
        if bottoms[0][axis] % self.group:
            raise self.fail(f"{bottoms[0][axis]} channels are no multiple of group {self.group}", "group")
        out = window.up(size) if self.transposed else window.down(size)
        if min(out, default=1) < 1:
            raise self.fail(
                f"kernel {list(window.extent())} does not fit bottom {list(bottoms[0])} with pad {list(window.pad)}",
                "kernel_size",
            )
        return [(*bottoms[0][:axis], self.num_output, *out)] * len(bottoms)

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        axis, window = self.window(bottoms[0])
        channels = bottoms[0][axis]
        ends = (channels, self.num_output) if self.transposed else (self.num_output, channels)
        weight = ParamBlob("weight", (ends[0], ends[1] // self.group, *window.kernel), self.p.weight_filler)
        if not self.p.bias_term:
            return [weight]
        return [weight, ParamBlob("bias", (self.num_output,), self.p.bias_filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        axis, window = self.window(tuple(bottoms[0].shape))
        weight, bias = params[0], params[1] if len(params) > 1 else None
        return [self.one(bottom, axis, window, weight, bias) for bottom in bottoms]

    def one(
        self,
        bottom: torch.Tensor,
        axis: int,
        window: Window,
        weight: torch.Tensor | Packed,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Axes before the channel are folded into the batch; no spatial axes at all is one cell."""
        if isinstance(weight, Packed):
            return weight.convolve(bottom, bias, window, self.group, self.then_relu)
        lead, spatial = bottom.shape[:axis], bottom.shape[axis + 1 :]
        x = bottom if axis == 1 and spatial else bottom.reshape(prod(lead), bottom.shape[axis], *(spatial or (1,)))
        if not spatial:
            window, weight = Window((1,), (1,), (0,), (1,)), weight.unsqueeze(-1)
        axes = len(window.kernel)
        if self.by_tiles(x, weight, window):
            return winograd.convolve(x, weight, bias, window.pad, self.then_relu)
        if self.transposed:
            convolve = getattr(F, CONV_TRANSPOSE[axes])
            y = convolve(x, weight, bias, window.stride, window.pad, 0, self.group, window.dilation)
        elif as_matrix(weight, window, x, self.group):
            y = multiply(x, window, weight, bias)
        elif bands.suits(x, weight, window, self.group):
            y = bands.convolve(x, weight, bias, window)
        else:
            convolve = getattr(F, CONV[axes])
            y = convolve(x, weight, bias, window.stride, window.pad, window.dilation, self.group)
        if self.then_relu:
            y = y.relu_()
        return y if axis == 1 and spatial else y.reshape(*lead, self.num_output, *(y.shape[2:] if spatial else ()))

    def by_tiles(self, x: torch.Tensor, weight: torch.Tensor, window: Window) -> bool:
        """Whether Winograd's products give this top, and faster."""
        if self.transposed or torch.compiler.is_compiling() or not self.suits_tiles(weight, window, x.shape):
            return False
        single = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        return single and x.device.type == "cpu"

    def suits_tiles(self, weight: torch.Tensor, window: Window, bottom: Shape) -> bool:
        """Whether Winograd's products are faster on bottoms of this shape, and not switched off."""
        return winograd.suits(weight, window, self.group, bottom) and "winograd" not in self.context.no_pass


class Convolution(ConvolutionBase):
    """top[n, o] = bias[o] + Σ_c Σ_window weight[o, c, window] · bottom[n, c, stride · place + dilation · window − pad].

    Shapes: N x C x size -> N x num_output x floor((size + 2 pad − extent) / stride) + 1, any number of spatial axes up
        to three; channels are at `axis`, axes before it are batch.
    Blobs: weight (num_output x C/group x kernel), bias (num_output) unless bias_term is false.
    Errors: missing num_output or kernel_size, group that divides neither side, a kernel larger than the padded bottom.
    Source: Caffe's Convolution; engine and force_nd_im2col are hints and change nothing.
    """

    def coord_map(self) -> CoordMap:
        return declared_window(self).down_map(self.p.axis)

    def reach(self) -> tuple[int, ...]:
        return declared_window(self).extent()

    def sliding(self) -> Window | None:
        if not self.p.kernel_size and not self.p.HasField("kernel_h"):
            return None
        window = declared_window(self)
        return window if self.p.axis == 1 and len(window.kernel) == 2 else None

    def slide(self, bottom: torch.Tensor, params: list[torch.Tensor], pad: tuple[int, ...]) -> torch.Tensor:
        window = replace(declared_window(self), pad=pad)
        return self.one(bottom, 1, window, params[0], params[1] if len(params) > 1 else None)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(
            prod(top) * prod(self.params([bottom])[0].shape[1:]) for bottom, top in zip(bottoms, tops, strict=True)
        )


def as_matrix(weight: torch.Tensor, window: Window, x: torch.Tensor, group: int) -> bool:
    """Whether a two-dimensional convolution is better done as the product of its weight with the windows as columns."""
    if group > 1 or x.ndim != 4 or len(window.kernel) != 2:
        return False
    return large.suits(weight, x.shape[0] * prod(window.down(x.shape[2:])))


def multiply(x: torch.Tensor, window: Window, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Two-dimensional convolution as weight · columns, one column for each place of each image."""
    pointwise = (window.kernel, window.stride, window.pad) == ((1, 1), (1, 1), (0, 0))
    cells = x if pointwise else F.unfold(x, window.kernel, window.dilation, window.pad, window.stride)
    columns = cells.transpose(0, 1).reshape(cells.shape[1], -1)
    y = large.product(weight, columns, bias)
    return y.reshape(weight.shape[0], x.shape[0], *window.down(x.shape[2:])).transpose(0, 1)
