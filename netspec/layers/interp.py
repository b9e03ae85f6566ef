"""Interp: bilinear resizing whose corners stay in place."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.ir.coords import CoordMap
from netspec.layers.base import Layer, Shape
from netspec.layers.window import spatial_map
from netspec.lazytorch import F, torch


class Interp(Layer):
    """top[y, x] = bottom at (y (h − 1) / (H − 1), x (w − 1) / (W − 1)), bilinear between the four cells around it.

    h, w is the bottom's size less what pad_beg and pad_end (0 or negative) cut off; H, W is one of:
    shrink_factor s: (h − 1) div s + 1; zoom_factor z: h + (h − 1)(z − 1); height and width; shrunk, then zoomed;
    bottom 1's size (use_blob_size). A top of one row or column takes the first.
    Shapes: N x C x h x w, and on demand one whose height and width are wanted -> N x C x H x W.
    Errors: no size or two; positive padding, or more than there is; factors below 1; interp_type other than bilinear.
    Source: DeepLab's Interp, as PSPNet has it. Bottom 1 takes no gradient.
    """

    settings = "interp_param"
    bottoms = (1, 2)
    reusable_top = True

    def setup(self) -> None:
        p = self.p
        if p.interp_type != "bilinear":
            raise self.fail(f"interp_type '{p.interp_type}' is not supported; give 'bilinear'", "interp_type")
        for name in ("pad_beg", "pad_end"):
            if getattr(p, name) > 0:
                raise self.fail(f"{name} {getattr(p, name)} must be 0 or less: it only crops", name)
        for name in ("shrink_factor", "zoom_factor", "height", "width"):
            if p.HasField(name) and getattr(p, name) < 1:
                raise self.fail(f"{name} {getattr(p, name)} must be at least 1", name)
        if p.use_blob_size != (len(self.proto.bottom) == 2):
            raise self.fail("use_blob_size and a second bottom go together", "use_blob_size")
        self.factors = p.HasField("shrink_factor") or p.HasField("zoom_factor")
        if p.HasField("height") != p.HasField("width"):
            raise self.fail("give height and width, or neither", "height")
        if not (self.factors or p.HasField("height") or p.use_blob_size):
            raise self.fail("give height and width, shrink_factor, zoom_factor or use_blob_size")

    def size(self, n: int, fixed: int) -> int:
        """One side of the top, from one side of the cropped bottom."""
        p = self.p
        both = p.HasField("shrink_factor") and p.HasField("zoom_factor")
        if not self.factors or (both and fixed):
            return fixed
        n = (n - 1) // p.shrink_factor + 1
        return n + (n - 1) * (p.zoom_factor - 1)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if any(len(b) != 4 for b in bottoms):
            raise self.fail("bottoms must have four axes: images, channels, height, width")
        left = [n + self.p.pad_beg + self.p.pad_end for n in bottoms[0][2:]]
        if min(left) < 1:
            raise self.fail(f"padding leaves nothing of bottom {list(bottoms[0])}", "pad_beg")
        if len(bottoms) == 2:
            return [(*bottoms[0][:2], *bottoms[1][2:])]
        fixed = (self.p.height, self.p.width)
        return [(*bottoms[0][:2], *(self.size(n, f) for n, f in zip(left, fixed, strict=True)))]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x, beg, end = bottoms[0], -self.p.pad_beg, self.p.pad_end
        size = self.shapes([tuple(b.shape) for b in bottoms])[0][2:]
        x = x[:, :, beg : end or None, beg : end or None]
        return [x.clone() if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=True)]

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0

    def coord_map(self) -> CoordMap | None:
        """Only a pure zoom has the same scale for bottoms of all sizes."""
        p = self.p
        if not p.HasField("zoom_factor") or p.HasField("shrink_factor"):
            return None
        return spatial_map(1, [p.zoom_factor], [p.pad_beg * p.zoom_factor])

    def reach(self) -> tuple[int, ...]:
        return (2,)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return 4 * prod(tops[0])
