"""Unpooling: the way back from pooled cells to the plane they came from."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.ir.coords import CoordMap
from netspec.layers.base import Layer, Shape, same_shape
from netspec.layers.switches import put_back
from netspec.layers.window import Window
from netspec.lazytorch import F, torch


class Unpooling(Layer):
    """top = each cell of the bottom put at one place of its window (MAX), shared out over it (AVE), or repeated (TILE).

    The place of MAX is the mask's, or without a mask the window's first; windows that overlap add up in AVE and TILE,
    and the last stays in MAX. A window is cut off at the top's edge; AVE divides by what is left.
    Shapes: N x C x h x w, and on demand the mask of a Pooling layer, of the same shape -> N x C x unpool_size (or
        unpool_h x unpool_w); by default max((h − 1) stride + kernel, h stride + 1), likewise for the width.
    Errors: kernel missing or 0; both forms of a setting; any pad; a mask of another shape, or that points outside.
    Source: DeconvNet's Unpooling (Noh et al. 2015). The gradient of TILE is the sum over the window; the published code
        takes the mean. The mask takes no gradient.
    """

    settings = "unpooling_param"
    bottoms = (1, 2)
    reusable_top = True

    def setup(self) -> None:
        self.method = schema.enum_name(self.p, "unpool")
        kernel, stride = self.pair("kernel_size"), self.pair("stride") or (1, 1)
        if kernel is None:
            raise self.fail("kernel_size is missing", "kernel_size")
        if min(kernel) < 1 or min(stride) < 1:
            name = "kernel_size" if min(kernel) < 1 else "stride"
            raise self.fail(f"{name} must be at least 1", name)
        if any(self.pair("pad") or ()):
            raise self.fail("pad must be 0", "pad")
        self.window = Window(kernel, stride, (0, 0), (1, 1))
        self.fixed = self.pair("unpool_size")
        if self.fixed and min(self.fixed) < 1:
            raise self.fail("unpool_size must be at least 1", "unpool_size")

    def pair(self, name: str) -> tuple[int, int] | None:
        """A setting given once for both axes or as _h and _w."""
        p, short = self.p, name.removesuffix("_size")
        given = [p.HasField(f"{short}_h"), p.HasField(f"{short}_w")]
        if any(given):
            if p.HasField(name) or not all(given):
                raise self.fail(f"give {name}, or both {short}_h and {short}_w", name if p.HasField(name) else None)
            return getattr(p, f"{short}_h"), getattr(p, f"{short}_w")
        return (getattr(p, name),) * 2 if p.HasField(name) else None

    def size(self, bottom: Shape) -> Shape:
        rows = zip(bottom[2:], self.window.kernel, self.window.stride, strict=True)
        return self.fixed or tuple(max((n - 1) * s + k, n * s + 1) for n, k, s in rows)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise self.fail(f"bottom {list(bottoms[0])} must have four axes: images, channels, height, width")
        if len(bottoms) == 2:
            same_shape(self, bottoms)
        size = self.size(bottoms[0])
        if any((n - 1) * s >= m for n, s, m in zip(bottoms[0][2:], self.window.stride, size, strict=True)):
            raise self.fail(f"the last windows of bottom {list(bottoms[0])} start beyond {list(size)}", "unpool_size")
        return [(*bottoms[0][:2], *size)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        size = self.size(tuple(x.shape))
        if self.method == "MAX":
            mask = bottoms[1] if len(bottoms) == 2 else self.first_cells(x, size)
            return [put_back(x, mask, size)]
        if self.method == "AVE":
            x = x / self.spread(torch.ones_like(x[:1, :1]), size, True)
        return [self.spread(x, size)]

    def first_cells(self, x: torch.Tensor, size: Shape) -> torch.Tensor:
        """A mask of the first cell of each window."""
        rows, columns = (
            torch.arange(n, device=x.device) * s for n, s in zip(x.shape[2:], self.window.stride, strict=True)
        )
        return (rows[:, None] * size[1] + columns).expand(x.shape)

    def spread(self, x: torch.Tensor, size: Shape, count: bool = False) -> torch.Tensor:
        """Each value added to all cells of its window; with `count`, how many cells of each window there are."""
        kernel, stride = self.window.kernel, self.window.stride
        full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], stride, kernel, strict=True)]
        weight = x.new_ones(1, 1, *kernel)
        if count:
            inside = F.pad(x.new_ones(1, 1, *size), (0, max(0, full[1] - size[1]), 0, max(0, full[0] - size[0])))
            return F.conv2d(inside[:, :, : full[0], : full[1]], weight, stride=stride)
        planes = x.reshape(-1, 1, *x.shape[2:])
        top = F.conv_transpose2d(planes, weight, stride=stride).reshape(*x.shape[:2], *full)
        return F.pad(top, (0, size[1] - full[1], 0, size[0] - full[0]))

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0

    def coord_map(self) -> CoordMap:
        return self.window.up_map(1)
