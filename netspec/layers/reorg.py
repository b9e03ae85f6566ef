"""Reorg: space folded into channels."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class Reorg(Layer):
    """top = the bottom's values in Darknet's order of folding, with s = stride.

    The bottom's memory is read as C / s² channels of s H x s W; what stands there at (k, s y + i, s x + j) goes to
    channel (i s + j) C / s² + k at (y, x) of a C x H x W, whose memory is the top's. That does not make a channel of
    each pixel of a block, but Darknet's weights were trained so. With reverse, bottom channel (i s + j) C / s² + k at
    (y, x) goes to (k, s y + i, s x + j): channels unfolded into space, and not the way back.

    Shapes: N x C x H x W -> N x C s² x H / s x W / s; reverse: N x C / s² x s H x s W.
    Errors: stride 0; a bottom that has not four axes; channels, height or width that stride does not divide; in place.
    Source: Darknet's reorg (Redmon and Farhadi 2017), as YOLO in Caffe has it.
    """

    settings = "reorg_param"

    def setup(self) -> None:
        if not self.p.stride:
            raise self.fail("stride must be at least 1", "stride")
        if list(self.proto.top) == list(self.proto.bottom):
            raise self.fail(f"changes '{self.proto.top[0]}' in place; give its top another name", "top")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, s = bottoms[0], self.p.stride
        if len(shape) != 4:
            raise self.fail(f"bottom {list(shape)} must have four axes: images, channels, height, width")
        n, c, h, w = shape
        if self.p.reverse:
            if c % (s * s):
                raise self.fail(f"bottom {list(shape)} must have a multiple of stride² = {s * s} channels", "stride")
            return [(n, c // (s * s), h * s, w * s)]
        if c % (s * s) or h % s or w % s:
            raise self.fail(
                f"stride {s} does not fit bottom {list(shape)}: channels / stride², height and width / stride", "stride"
            )
        return [(n, c * s * s, h // s, w // s)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, s = bottoms[0], self.p.stride
        n, c, h, w = x.shape
        top = self.shapes([(n, c, h, w)])[0]
        if self.p.reverse:
            return [x.reshape(n, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2).reshape(top)]
        return [x.reshape(n, c // (s * s), h, s, w, s).permute(0, 3, 5, 1, 2, 4).reshape(top)]
