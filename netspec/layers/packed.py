"""Convolution weights in the form this processor's kernels want them in, for inference on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.lazytorch import torch


@dataclass(frozen=True)
class Packed:
    """A weight that oneDNN has reordered; only `convolve` can read it."""

    values: torch.Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype

    requires_grad = False


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN's convolution on packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def pack(
    weight: torch.Tensor,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
    bottom: Sequence[int],
) -> Packed:
    """The packed form of a weight; `bottom` is a shape it will often be used on."""
    values = torch.ops.mkldnn._reorder_convolution_weight(
        weight, list(pad), list(stride), list(dilation), group, list(bottom)
    )
    return Packed(values, tuple(weight.shape), weight.dtype)


def convolve(
    x: torch.Tensor,
    weight: Packed,
    bias: torch.Tensor | None,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
    relu: bool,
) -> torch.Tensor:
    """Convolution of N x C x H x W, then ReLU if asked, in the weight's number type; channels lie innermost."""
    x = x.to(weight.dtype).contiguous(memory_format=torch.channels_last)
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight.values, bias, list(pad), list(stride), list(dilation), group, "relu" if relu else "none", [], ""
    )
