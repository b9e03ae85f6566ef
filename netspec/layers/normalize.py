"""Normalize: every place's channels, or the whole image, scaled to one length, times a learned factor."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.lazytorch import torch


class Normalize(Layer):
    """y = s x / √(Σ x² + eps): the sum over all of an image, or with across_spatial: false over channels at a place.

    Shapes: N x C x ... -> the same.
    Blobs: scale (C), or one value with channel_shared; 1 without scale_filler.
    Errors: a bottom of fewer than two axes.
    Source: SSD's Normalize (Liu et al. 2016), ParseNet (Liu, Rabinovich and Berg 2015).
    """

    settings = "norm_param"

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) < 2:
            raise self.fail(f"bottom {list(bottoms[0])} must have two axes or more: images, channels")
        return [bottoms[0]]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        given = self.p.HasField("scale_filler")
        filler = self.p.scale_filler if given else schema.new("FillerParameter", value=1)
        return [ParamBlob("scale", () if self.p.channel_shared else (bottoms[0][1],), filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, (scale,) = bottoms[0], params
        axes = tuple(range(1, x.ndim)) if self.p.across_spatial else (1,)
        length = (x.square().sum(axes, keepdim=True) + self.p.eps).sqrt()
        return [x / length * (scale if scale.ndim == 0 else scale.reshape(-1, *(1,) * (x.ndim - 2)))]

    def coord_map(self) -> CoordMap | None:
        return None if self.p.across_spatial else IDENTITY
