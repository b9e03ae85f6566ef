"""Convolution weights in the form this processor's kernels want them in, for inference on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec import heap
from netspec.layers.window import Window
from netspec.lazytorch import torch

PART = 2**26
"""Bytes of a weight that are packed at once."""


@dataclass(frozen=True)
class Packed:
    """A weight that oneDNN has reordered, in parts along its outputs."""

    parts: tuple[torch.Tensor, ...]
    outputs: tuple[int, ...]
    """How many outputs each part has."""
    dtype: torch.dtype

    requires_grad = False

    def convolve(
        self, x: torch.Tensor, bias: torch.Tensor | None, window: Window, group: int, relu: bool
    ) -> torch.Tensor:
        """Convolution of N x C x H x W, then ReLU if asked, in the weight's number type; channels lie innermost."""
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        biases = (None,) * len(self.parts) if bias is None else bias.split(self.outputs)
        settings = list(window.pad), list(window.stride), list(window.dilation), group, "relu" if relu else "none"
        one = torch.ops.mkldnn._convolution_pointwise
        tops = [one(x, part, b, *settings, [], "") for part, b in zip(self.parts, biases, strict=True)]
        return tops[0] if len(tops) == 1 else torch.cat(tops, 1)


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN's convolution on packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def pack(
    weight: torch.Tensor, dtype: torch.dtype, window: Window, group: int, bottom: Sequence[int], spent: bool = False
) -> Packed:
    """The packed form of a weight as another number type; `bottom` is a shape it will often be used on.

    A large weight is packed in parts, so that no second copy of the whole is made on the way. One that is `spent` has
    no reader left: its memory goes back part by part, and there is never more than one copy.
    """
    count = 1 if group > 1 else -(-weight.nbytes // PART)
    settings = list(window.pad), list(window.stride), list(window.dilation), group, list(bottom)
    made, outputs = [], []
    for part in weight.split(-(-len(weight) // count)):
        made.append(torch.ops.mkldnn._reorder_convolution_weight(part.to(dtype), *settings))
        outputs.append(len(part))
        if spent and count > 1:
            heap.let_go(part.data_ptr(), part.nbytes)
    return Packed(tuple(made), tuple(outputs), dtype)
