"""Crop: the part of a blob that another blob covers."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ir.coords import CoordMap
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape, canonical_axis
from netspec.layers.window import spatial_map
from netspec.lazytorch import torch


class Crop(Layer):
    """top[place] = bottom 0 [place + offset], of bottom 1's size along `axis` (default 2) and every axis after it.

    `offset` is given once for all cropped axes, or once per axis; without it everything starts at 0.
    Shapes: any, any -> bottom 0's before `axis`, bottom 1's from there on. The top may share bottom 0's memory.
    Errors: an axis outside bottom 0; a wrong number of offsets; offset + size beyond bottom 0.
    Source: Caffe's Crop. Bottom 1 takes no gradient.
    """

    settings = "crop_param"
    bottoms = (2, 2)
    aliases = True

    def offsets(self, axes: int) -> list[int]:
        """One offset for each of the cropped axes."""
        given = list(self.p.offset)
        if len(given) not in (0, 1, axes):
            raise self.fail(f"offset is given {counted(len(given), 'time')} for {axes} cropped axes", "offset")
        return given if len(given) == axes else (given or [0]) * axes

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        whole, size = bottoms
        axis = canonical_axis(self, self.p.axis, whole)
        if len(size) < len(whole):
            raise self.fail(f"bottom 1 {list(size)} has fewer axes than bottom 0 {list(whole)}")
        for i, offset in enumerate(self.offsets(len(whole) - axis), axis):
            if offset + size[i] > whole[i]:
                place = f"bottom '{self.proto.bottom[0]}' axis {i} ({whole[i]})"
                raise self.fail(f"offset {offset} + size {size[i]} exceeds {place}", "offset")
        return [(*whole[:axis], *size[axis : len(whole)])]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        top, size = bottoms[0], bottoms[1].shape
        axis = self.p.axis % top.ndim
        for i, offset in enumerate(self.offsets(top.ndim - axis), axis):
            top = top.narrow(i, offset, size[i])
        return [top]

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0

    def coord_map(self) -> CoordMap | None:
        shift = [-offset for offset in self.p.offset] or [0]
        axis = self.p.axis
        return spatial_map(axis - 1, [1] * len(shift), shift) if axis else None
