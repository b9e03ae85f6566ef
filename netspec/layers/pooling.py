"""Pooling: the maximum, the mean or a random cell of windows that slide over height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

from netspec import schema
from netspec.errors import LayerError
from netspec.ir.coords import CoordMap
from netspec.layers.base import Layer, Shape
from netspec.layers.window import Window
from netspec.lazytorch import F, torch

FLT_MAX = 3.4028234663852886e38
LARGE = 2**22
"""Bytes of a pooled map's indices above which they are not kept."""


def pooled_size(size: Sequence[int], window: Window, floor: bool = False) -> Shape:
    """ceil((size + 2 pad − kernel) / stride) + 1 per axis; with padding, less a last window that would start in it."""
    out = []
    for n, k, s, p in zip(size, window.kernel, window.stride, window.pad, strict=True):
        room = n + 2 * p - k
        cells = (room // s if floor else -(-room // s)) + 1
        starts_outside = any(window.pad) and (cells - 1) * s >= n + p
        out.append(cells - 1 if starts_outside else cells)
    return tuple(out)


def pool(
    method: str, x: torch.Tensor, window: Window, out: Shape, train: bool = False, mask: bool = False
) -> list[torch.Tensor]:
    """The pooled N x C x out, and with `mask` the winner's index within its plane (MAX only)."""
    if method == "MAX":
        return max_pool(x, window, out, mask)
    if method == "AVE":
        return [average_pool(x, window, out)]
    return [stochastic_pool(x, window, out, train)]


def max_pool(x: torch.Tensor, window: Window, out: Shape, mask: bool = False) -> list[torch.Tensor]:
    """The first maximum in row order. A window without a cell gives −FLT_MAX and index −1."""
    size = x.shape[2:]
    if _as_torch(window, size, out):
        ceil = out != _floor_size(size, window)
        if not mask:
            settings = window.kernel, window.stride, window.pad, (1, 1), ceil
            return [_unindexed()(x, settings) if _large(x, out) else F.max_pool2d(x, *settings)]
        y, index = F.max_pool2d(x, window.kernel, window.stride, window.pad, 1, ceil, return_indices=True)
        return [y, _as_float(index, x)]
    padded = _pad(x, window, out, max(-FLT_MAX, torch.finfo(x.dtype).min))
    y, index = F.max_pool2d(padded, window.kernel, window.stride, return_indices=True)
    if not mask:
        return [y]
    row = index // padded.shape[3] - window.pad[0]
    column = index % padded.shape[3] - window.pad[1]
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    return [y, _as_float(torch.where(inside, row * size[1] + column, -1), x)]


def _large(x: torch.Tensor, out: Shape) -> bool:
    """Whether backward had better find the winners again, which is quick where channels lie innermost."""
    innermost = x.is_contiguous(memory_format=torch.channels_last)
    return innermost and x.requires_grad and torch.is_grad_enabled() and 8 * prod((*x.shape[:2], *out)) > LARGE


@cache
def _unindexed() -> Any:
    """max_pool2d that keeps no indices for backward: they take eight bytes a cell, four times a bfloat16."""

    class MaxPool(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, settings: tuple[Any, ...]) -> torch.Tensor:
            ctx.save_for_backward(x)
            ctx.settings = settings
            return F.max_pool2d(x, *settings)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (x,) = ctx.saved_tensors
            _, index = F.max_pool2d(x, *ctx.settings, return_indices=True)
            return torch.ops.aten.max_pool2d_with_indices_backward(grads[0], x, *ctx.settings, index), None

    return MaxPool.apply


def average_pool(x: torch.Tensor, window: Window, out: Shape) -> torch.Tensor:
    """The sum over the window's cells, divided by its area cut at size + pad: padding counts, what is beyond does not.

    A window without a cell gives 0.
    """
    size = tuple(x.shape[2:])
    if window.kernel == size and not any(window.pad) and out == (1, 1):
        return x.mean((2, 3), keepdim=True)
    if _as_torch(window, size, out):
        ceil = out != _floor_size(size, window)
        return F.avg_pool2d(x, window.kernel, window.stride, window.pad, ceil)
    total = F.avg_pool2d(_pad(x, window, out, 0.0), window.kernel, window.stride, divisor_override=1)
    lengths = []
    for n, k, s, p, cells in zip(size, window.kernel, window.stride, window.pad, out, strict=True):
        first = torch.arange(cells, device=x.device) * s - p
        lengths.append(((first + k).clamp(max=n + p) - first).clamp(min=1))
    return total / (lengths[0][:, None] * lengths[1]).to(x.dtype)


def stochastic_pool(x: torch.Tensor, window: Window, out: Shape, train: bool) -> torch.Tensor:
    """In training a cell chosen with probability x / Σ x, else the expectation Σ x² / Σ x (0 where Σ x is 0)."""
    padded = _pad(x, window, out, 0.0)
    if not train:
        total = F.avg_pool2d(padded, window.kernel, window.stride, divisor_override=1)
        squares = F.avg_pool2d(padded * padded, window.kernel, window.stride, divisor_override=1)
        return torch.where(total > 0, squares / total.clamp(min=torch.finfo(x.dtype).tiny), 0)
    planes = padded.reshape(-1, 1, *padded.shape[2:])
    cells = F.unfold(planes, window.kernel, stride=window.stride)
    with torch.no_grad():
        below = cells.cumsum(1)
        drawn = torch.rand_like(below[:, :1]) * below[:, -1:]
        chosen = (below < drawn).sum(1, keepdim=True).clamp(max=cells.shape[1] - 1)
    return cells.gather(1, chosen).reshape(*x.shape[:2], *out)


def _as_torch(window: Window, size: Sequence[int], out: Shape) -> bool:
    """Whether torch pools these windows: it takes padding up to half a kernel and no window that starts outside."""
    rows = zip(window.kernel, window.stride, window.pad, size, out, strict=True)
    return all(2 * p <= k and (cells - 1) * s < n + p for k, s, p, n, cells in rows)


def _floor_size(size: Sequence[int], window: Window) -> Shape:
    return pooled_size(size, window, floor=True)


def _pad(x: torch.Tensor, window: Window, out: Shape, value: float) -> torch.Tensor:
    """The bottom with what the windows cover around it, so that they need no padding any more."""
    rows = list(zip(x.shape[2:], window.kernel, window.stride, window.pad, out, strict=True))
    (top, bottom), (left, right) = [(p, (cells - 1) * s + k - n - p) for n, k, s, p, cells in rows]
    return F.pad(x, (left, right, top, bottom), value=value)


def _as_float(index: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return index.to(like.dtype if like.dtype == torch.float64 else torch.float32)


class Pooling(Layer):
    """top = the maximum (MAX), the mean (AVE) or one random cell (STOCHASTIC) of a window of the bottom, per channel.

    Sizes round up, or down with round_mode FLOOR or ceil_mode false; with padding, a last window that would start
    beyond size + pad is dropped. AVE divides by the window cut at size + pad. STOCHASTIC draws a cell with probability
    x / Σ x in TRAIN and gives Σ x² / Σ x in TEST.
    Shapes: N x C x H x W -> N x C x ceil((H + 2 pad − kernel) / stride) + 1 x ...; global_pooling: N x C x 1 x 1.
    Blobs: none. A second top of MAX is the winner's index within its plane, as a number; it takes no gradient.
    Errors: kernel missing, or given together with global_pooling; both forms of a setting; padding as large as the
        kernel, or with STOCHASTIC; a bottom that has not four axes; a kernel that leaves no top.
    Source: Caffe's Pooling; STOCHASTIC is Zeiler and Fergus 2013.
        An empty window of AVE gives 0 (in Caffe 0 or not a number).
    """

    settings = "pooling_param"
    tops = (1, 2)
    reusable_top = True

    def setup(self) -> None:
        p = self.p
        self.method = schema.enum_name(p, "pool")
        if len(self.proto.top) > 1 and self.method != "MAX":
            raise LayerError(f"pool {self.method} has no mask; it takes 1 top", field="top")
        self.floor = self._floor()
        self.kernel = self._kernel()
        self.stride = self._pair("stride", 1)
        self.pad = self._pair("pad", 0)
        if min(self.stride) < 1:
            raise self.fail(f"stride {list(self.stride)} must be at least 1", "stride")
        if self.kernel is None:
            if any(self.pad) or self.stride != (1, 1):
                raise self.fail("global_pooling takes pad 0 and stride 1", "global_pooling")
            return
        if min(self.kernel) < 1:
            raise self.fail(f"kernel_size {list(self.kernel)} must be at least 1", "kernel_size")
        if any(self.pad) and self.method == "STOCHASTIC":
            raise self.fail("pool STOCHASTIC takes no pad", "pad")
        if any(a >= k for a, k in zip(self.pad, self.kernel, strict=True)):
            raise self.fail(f"pad {list(self.pad)} must be less than kernel {list(self.kernel)}", "pad")

    def _floor(self) -> bool:
        """Whether sizes round down; ceil_mode is how forks say it."""
        floor = schema.enum_name(self.p, "round_mode") == "FLOOR"
        if not self.p.HasField("ceil_mode"):
            return floor
        if self.p.HasField("round_mode") and floor == self.p.ceil_mode:
            raise self.fail("ceil_mode and round_mode contradict each other", "ceil_mode")
        return not self.p.ceil_mode

    def _kernel(self) -> tuple[int, int] | None:
        """None is the whole plane."""
        if not self.p.global_pooling:
            return self._pair("kernel_size", None)
        for name in ("kernel_size", "kernel_h", "kernel_w"):
            if self.p.HasField(name):
                raise self.fail(f"global_pooling takes no {name}", name)
        return None

    def _pair(self, name: str, default: int | None) -> tuple[int, int]:
        """A setting given once for both axes or as _h and _w."""
        p, short = self.p, name.removesuffix("_size")
        given = [p.HasField(f"{short}_h"), p.HasField(f"{short}_w")]
        if any(given):
            if p.HasField(name) or not all(given):
                raise self.fail(f"give {name}, or both {short}_h and {short}_w", name if p.HasField(name) else None)
            return getattr(p, f"{short}_h"), getattr(p, f"{short}_w")
        if default is None and not p.HasField(name):
            raise self.fail(f"{name} is missing", name)
        value = getattr(p, name) if p.HasField(name) else default or 0
        return value, value

    def window(self, bottom: Shape) -> Window:
        kernel = bottom[2:] if self.kernel is None else self.kernel
        return Window(kernel, self.stride, self.pad, (1, 1))

    def out(self, bottom: Shape) -> Shape:
        """Height and width of the top."""
        return pooled_size(bottom[2:], self.window(bottom), self.floor)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom = bottoms[0]
        if len(bottom) != 4:
            raise self.fail(f"bottom {list(bottom)} must have four axes: images, channels, height, width")
        out = self.out(bottom)
        if min(out) < 1:
            raise self.fail(
                f"kernel {list(self.window(bottom).kernel)} does not fit bottom {list(bottom)}", "kernel_size"
            )
        return [(*bottom[:2], *out)] * max(1, len(self.proto.top))

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        shape = tuple(bottoms[0].shape)
        mask = len(self.proto.top) > 1
        return pool(self.method, bottoms[0], self.window(shape), self.out(shape), self.phase == "TRAIN", mask)

    def coord_map(self) -> CoordMap | None:
        return None if self.kernel is None else self.window(()).down_map(1)

    def reach(self) -> tuple[int, ...]:
        return self.kernel or (1,)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(tops[0]) * prod(self.window(bottoms[0]).kernel) if self.method == "AVE" else 0

    def sliding(self) -> Window | None:
        single = self.kernel is not None and self.method != "STOCHASTIC" and len(self.proto.top) == 1
        return self.window(()) if single else None

    def slide(self, bottom: torch.Tensor, params: list[torch.Tensor], pad: tuple[int, ...]) -> torch.Tensor:
        window = replace(self.window(()), pad=pad)
        return pool(self.method, bottom, window, pooled_size(bottom.shape[2:], window, self.floor))[0]
