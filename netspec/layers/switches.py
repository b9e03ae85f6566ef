"""Places of maxima that a pooling layer gave as its second top, and values put back there."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.layers.base import Shape
from netspec.lazytorch import torch


def put_back(values: torch.Tensor, mask: torch.Tensor, size: Shape) -> torch.Tensor:
    """N x C x size, zero but for top[n, c, mask[n, c, i]] = values[n, c, i]; of values for one place the last stays.

    The gradient of a value is that of its place. A place outside the plane is an error, but while the net is traced or
    captured as a CUDA graph, when nothing can be read back.
    """
    index = mask.detach().flatten(2).long()
    cells = size[0] * size[1]
    traced = torch.compiler.is_compiling() or (index.is_cuda and torch.cuda.is_current_stream_capturing())
    if not traced and index.numel() and (index.min() < 0 or index.max() >= cells):
        worst = index.max() if index.max() >= cells else index.min()
        raise SpecError(
            f"the mask points at cell {worst.item()} of a plane of {size[0]} x {size[1]}: "
            "the pooling that made it had a bottom of another size"
        )
    flat = values.new_zeros(*values.shape[:2], cells).scatter(2, index, values.flatten(2))
    return flat.reshape(*values.shape[:2], *size)
