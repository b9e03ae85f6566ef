"""Upsample: a larger plane, with maxima put back where pooling found them, or with cells repeated."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from netspec.ir.coords import CoordMap
from netspec.layers.base import Layer, Shape, same_shape
from netspec.layers.switches import put_back
from netspec.layers.window import spatial_map
from netspec.lazytorch import torch


class Upsample(Layer):
    """top = 0 but for top[n, c, mask[n, c, i]] = bottom[n, c, i]; without a mask, each cell scale x scale times.

    The mask is the second top of a Pooling layer. The size is upsample_h x upsample_w, or scale (or scale_h, scale_w)
    times the bottom's, one less with pad_out_h, pad_out_w.
    Shapes: N x C x h x w, and the mask of the same shape -> N x C x H x W.
    Errors: one of a pair without the other; scale below 2; pad_out with another scale than 2; a mask of another shape,
        or that points outside the top; exact sizes without a mask.
    Source: SegNet's Upsample; the form without a mask is that of YOLO's nets. The mask takes no gradient.
    """

    settings = "upsample_param"
    bottoms = (1, 2)
    reusable_top = True

    def setup(self) -> None:
        p = self.p
        self.fixed: tuple[int, int] | None = None
        if self.pair("upsample_h", "upsample_w"):
            self.fixed = (p.upsample_h, p.upsample_w)
            if min(self.fixed) < 2:
                raise self.fail(f"upsample_h, upsample_w {list(self.fixed)} must be at least 2", "upsample_h")
            if len(self.proto.bottom) == 1:
                raise self.fail("upsample_h and upsample_w want a mask, a second bottom", "upsample_h")
        given = self.pair("scale_h", "scale_w")
        if given and p.HasField("scale"):
            raise self.fail("give scale, or both scale_h and scale_w", "scale")
        self.scale: tuple[int, int] = (p.scale_h, p.scale_w) if given else (p.scale, p.scale)
        if not self.fixed and min(self.scale) < 2:
            raise self.fail(f"scale {list(self.scale)} must be at least 2", "scale")
        self.less = (int(p.pad_out_h), int(p.pad_out_w))
        if any(less and s != 2 for less, s in zip(self.less, self.scale, strict=True)):
            raise self.fail("pad_out_h and pad_out_w want scale 2", "pad_out_h" if p.pad_out_h else "pad_out_w")
        if len(self.proto.bottom) == 1 and any(self.less):
            raise self.fail("pad_out_h and pad_out_w want a mask, a second bottom", "pad_out_h")

    def pair(self, first: str, second: str) -> bool:
        """Whether both fields of a pair are given; one alone is refused."""
        given = [self.p.HasField(first), self.p.HasField(second)]
        if any(given) and not all(given):
            raise self.fail(f"give both {first} and {second}", first if given[0] else second)
        return all(given)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise self.fail(f"bottom {list(bottoms[0])} must have four axes: images, channels, height, width")
        if len(bottoms) == 2:
            same_shape(self, bottoms)
        rows = zip(bottoms[0][2:], self.scale, self.less, strict=True)
        return [(*bottoms[0][:2], *(self.fixed or tuple(n * s - less for n, s, less in rows)))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        if len(bottoms) == 1:
            return [x.repeat_interleave(self.scale[0], 2).repeat_interleave(self.scale[1], 3)]
        return [put_back(x, bottoms[1], self.shapes([tuple(b.shape) for b in bottoms])[0][2:])]

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0

    def coord_map(self) -> CoordMap | None:
        return None if self.fixed else spatial_map(1, self.scale, [Fraction(s - 1, 2) for s in self.scale])
