"""CropCenter: a margin cut off on both ends of each axis."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import CoordMap, coord_map
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch


class CropCenter(Layer):
    """top = bottom without its first and last crop_size[i] values along each axis i.

    Shapes: d_0 x d_1 x ... -> (d_0 − 2 crop_size[0]) x (d_1 − 2 crop_size[1]) x ...; the top may share the bottom's
        memory.
    Errors: not one crop_size per axis; nothing left of an axis.
    Source: the CropCenter of waifu2x-caffe's fork.
    """

    settings = "crop_center_param"
    aliases = True

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom, crop = bottoms[0], list(self.p.crop_size)
        if len(crop) != len(bottom):
            raise self.fail(
                f"crop_size is given {counted(len(crop), 'time')} for the {len(bottom)} axes of the bottom", "crop_size"
            )
        top = tuple(n - 2 * c for n, c in zip(bottom, crop, strict=True))
        if min(top, default=1) < 1:
            raise self.fail(f"crop_size {crop} leaves nothing of bottom {list(bottom)}", "crop_size")
        return [top]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        return [x[tuple(slice(c, n - c) for n, c in zip(x.shape, self.p.crop_size, strict=True))]]

    def coord_map(self) -> CoordMap | None:
        crop = list(self.p.crop_size)[2:]
        return coord_map(1, [1] * len(crop), [-c for c in crop]) if crop else None
