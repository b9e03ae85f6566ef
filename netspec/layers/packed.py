"""Convolution weights in the form this processor's kernels want them in, for inference on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.lazytorch import torch

PART = 2**26
"""Bytes of a weight that are packed at once."""


@dataclass(frozen=True)
class Packed:
    """A weight that oneDNN has reordered, in parts along its outputs; only `convolve` can read it."""

    parts: tuple[torch.Tensor, ...]
    outputs: tuple[int, ...]
    """How many outputs each part has."""
    dtype: torch.dtype

    requires_grad = False


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN's convolution on packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def pack(
    weight: torch.Tensor,
    dtype: torch.dtype,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
    bottom: Sequence[int],
) -> Packed:
    """The packed form of a weight as another number type; `bottom` is a shape it will often be used on.

    A large weight is packed in parts, so that no second copy of the whole is made on the way.
    """
    count = 1 if group > 1 else -(-weight.nbytes // PART)
    parts = weight.split(-(-len(weight) // count))
    settings = list(pad), list(stride), list(dilation), group, list(bottom)
    reorder = torch.ops.mkldnn._reorder_convolution_weight
    return Packed(tuple(reorder(p.to(dtype), *settings) for p in parts), tuple(len(p) for p in parts), dtype)


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
    biases = (None,) * len(weight.parts) if bias is None else bias.split(weight.outputs)
    settings = list(pad), list(stride), list(dilation), group, "relu" if relu else "none", [], ""
    one = torch.ops.mkldnn._convolution_pointwise
    tops = [one(x, part, b, *settings) for part, b in zip(weight.parts, biases, strict=True)]
    return tops[0] if len(tops) == 1 else torch.cat(tops, 1)
