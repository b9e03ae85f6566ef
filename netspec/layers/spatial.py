"""Windows that slide over spatial axes, and layouts: what Convolution, Deconvolution, Im2col and Pooling share."""

from __future__ import annotations

from netspec.ir.words import counted
from netspec.layers.base import Layer
from netspec.layers.window import Window
from netspec.lazytorch import torch


def read_window(layer: Layer, axes: int) -> Window:
    """The window of a ConvolutionParameter for `axes` spatial axes.

    kernel_size, stride, pad, dilation are given once for all axes or once per axis; the _h and _w forms only for two.
    hole is what forks called dilation before Caffe had it.
    """
    kernel = _per_axis(layer, "kernel_size", "kernel", axes, None)
    stride = _per_axis(layer, "stride", "stride", axes, 1)
    pad = _per_axis(layer, "pad", "pad", axes, 0)
    dilation = _per_axis(layer, "dilation", None, axes, 1)
    hole = _per_axis(layer, "hole", "hole", axes, 1)
    if any(h != 1 for h in hole):
        if layer.p.dilation:
            raise layer.fail("give dilation or hole, not both", "hole")
        dilation = hole
    for name, values, least in (("kernel_size", kernel, 1), ("stride", stride, 1), ("dilation", dilation, 1)):
        if min(values, default=least) < least:
            raise layer.fail(f"{name} {list(values)} must be at least {least}", name)
    return Window(kernel, stride, pad, dilation)


def declared_window(layer: Layer) -> Window:
    """The window without a bottom: for as many axes as the settings tell, two by default."""
    p = layer.p
    named = [len(v) for v in (p.kernel_size, p.stride, p.pad, p.dilation, p.hole) if len(v) > 1]
    return read_window(layer, -p.axis - 1 if p.axis < 0 else named[0] if named else 2)


def layout_of(x: torch.Tensor) -> torch.memory_format:
    """Where the channels of N x C x H x W lie: innermost or not."""
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def _per_axis(layer: Layer, name: str, short: str | None, axes: int, default: int | None) -> tuple[int, ...]:
    p = layer.p
    values = tuple(getattr(p, name))
    if short and (p.HasField(f"{short}_h") or p.HasField(f"{short}_w")):
        if values:
            raise layer.fail(f"give {name} or {short}_h and {short}_w, not both", f"{short}_h")
        if axes != 2:
            raise layer.fail(f"{short}_h and {short}_w are for two spatial axes, the bottom has {axes}", f"{short}_h")
        return (getattr(p, f"{short}_h"), getattr(p, f"{short}_w"))
    if not values:
        if default is None and axes:
            raise layer.fail(f"{name} is missing", name)
        return (default or 0,) * axes
    if len(values) not in (1, axes):
        raise layer.fail(f"{name} is given {counted(len(values), 'time')} for {axes} spatial axes", name)
    return values * axes if len(values) == 1 and axes != 1 else values[:axes]
