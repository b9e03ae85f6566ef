"""The seven fillers: how a parameter blob gets its first values.

n is the number of values one filter reads (fan in: count / axis 0), writes (fan out: count / axis 1), or their mean,
as variance_norm says.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

from netspec import schema
from netspec.errors import LayerError, suggestion
from netspec.lazytorch import torch

if TYPE_CHECKING:
    from torch import Tensor


def fill(blob: Tensor, filler: Any, generator: torch.Generator | None = None) -> None:
    """Fills a blob in place after its FillerParameter."""
    if filler.type not in FILLERS:
        raise LayerError(f"unknown filler type '{filler.type}'{suggestion(filler.type, FILLERS)}")
    if filler.sparse != -1 and filler.type != "gaussian":
        raise LayerError(f"sparse is for the gaussian filler, not for '{filler.type}'")
    with torch.no_grad():
        FILLERS[filler.type](blob, filler, generator)


def constant(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Every value is `value`."""
    blob.fill_(filler.value)


def uniform(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Uniform in min..max."""
    blob.uniform_(filler.min, filler.max, generator=generator)


def gaussian(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Normal with mean and std; with `sparse` s, a value is kept with probability s / axis 0, else 0."""
    blob.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        keep = torch.rand(blob.shape, generator=generator, device=blob.device) < filler.sparse / blob.shape[0]
        blob.mul_(keep)


def xavier(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Uniform in ±√(3 / n) (Glorot and Bengio 2010)."""
    scale = sqrt(3 / fan(blob, filler))
    blob.uniform_(-scale, scale, generator=generator)


def msra(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Normal with mean 0 and std √(2 / n) (He et al. 2015)."""
    blob.normal_(0, sqrt(2 / fan(blob, filler)), generator=generator)


def positive_unitball(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """Uniform in 0..1, then each row along axis 0 divided by its sum."""
    blob.uniform_(0, 1, generator=generator)
    rows = blob.view(blob.shape[0], -1)
    rows.div_(rows.sum(1, keepdim=True))


def bilinear(blob: Tensor, filler: Any, generator: torch.Generator | None) -> None:
    """The interpolation kernel in every channel pair (so an upsampling layer wants group = num_output)."""
    if blob.ndim != 4 or blob.shape[2] != blob.shape[3]:
        raise LayerError(f"the bilinear filler wants four axes and a square kernel, the blob is {list(blob.shape)}")
    blob.copy_(interpolation_kernel(blob.shape[-1]).expand(blob.shape))


def interpolation_kernel(size: int) -> Tensor:
    """(1 − |x / f − c|)(1 − |y / f − c|), f = ceil(k / 2), c = (k − 1) / (2 f), as Caffe has it since October 2017.

    Before, c was (2 f − 1 − f mod 2) / (2 f): another one for k = 2, 3, 6, 7, 10, ..., off the kernel's middle.
    """
    f = (size + 1) // 2
    c = (size - 1) / (2.0 * f)
    line = 1 - (torch.arange(size, dtype=torch.float32) / f - c).abs()
    return line[:, None] * line[None, :]


def fan(blob: Tensor, filler: Any) -> float:
    """n of the variance norm; a blob of one axis counts as one column."""
    fan_in = blob.numel() / blob.shape[0]
    fan_out = prod(blob.shape) / (blob.shape[1] if blob.ndim > 1 else 1)
    norm = schema.enum_name(filler, "variance_norm")
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[norm]


FILLERS: dict[str, Callable[..., None]] = {
    f.__name__: f for f in (constant, uniform, gaussian, xavier, msra, positive_unitball, bilinear)
}
