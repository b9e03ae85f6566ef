"""One layer's pass, recorded so that backward reads blobs as they are then.

Caffe's layers keep no values: their backward reads the memory of the blobs. So whatever autograd saves of a layer's
bottoms and tops is kept as a reference to the blob, and looked up when backward runs:

1. A later layer in place, or a script, that changed a blob has changed what backward sees.
2. A layer in place keeps the bottom it read, unless its class says `rereads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge, saved_tensors_hooks

from netspec.pycaffe.blob import Blob
from netspec.step import Step


@dataclass
class Saved:
    """A tensor that autograd keeps, or the blob whose values it is, and how they are laid out."""

    tensor: Tensor | None
    blob: Blob | None = None
    layout: tuple[Any, ...] = ()

    def refer(self, blob: Blob) -> None:
        """Keeps the blob instead of the tensor, where the blob's values are all there is to it."""
        if self.tensor is not None and self.tensor.numel() <= blob.count:
            self.blob, self.layout = blob, (self.tensor.size(), self.tensor.stride(), self.tensor.device)
            self.tensor = None

    def value(self) -> Tensor:
        if self.blob is None:
            assert self.tensor is not None
            return self.tensor
        size, stride, device = self.layout
        values = self.blob.tensor(device)
        return values.as_strided(size, stride, values.storage_offset())


@dataclass
class Pass:
    """What backward needs of a layer's forward: where gradients leave, the tops they come in at."""

    edges: list[GradientEdge | None]
    tops: list[Tensor]

    def gradients(self, diffs: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[list[Tensor | None], ...]:
        """The gradients of the bottoms that take one, and of the parameters, from the tops' diffs."""
        outs = [(t, d) for t, d in zip(self.tops, diffs, strict=True) if t.requires_grad]
        wanted: list[Any] = [e for e in self.edges if e is not None]
        if not outs or not (wanted or params):
            return [None] * len(wanted), [None] * len(params)
        grads = torch.autograd.grad(
            [t for t, _ in outs],
            [*wanted, *params],
            [d.view(t.shape) for t, d in outs],
            retain_graph=True,
            allow_unused=True,
        )
        return list(grads[: len(wanted)]), list(grads[len(wanted) :])


def forward(step: Step, bottoms: Sequence[Blob], tops: Sequence[Blob], device: torch.device) -> Pass:
    """Runs a layer from its bottom blobs into its top blobs."""
    given = [blob.tensor(device) for blob in bottoms]
    values = [enter(v) if g else v for v, g in zip(given, step.gradient, strict=True)]
    edges = [get_gradient_edge(v) if g else None for v, g in zip(values, step.gradient, strict=True)]
    saved: list[Saved] = []
    with saved_tensors_hooks(lambda t: keep(saved, t), Saved.value):
        made = [t.to(device) for t in step.run(values)]
    in_place = [blob for blob in bottoms if any(blob is top for top in tops)]
    known = {start(v): b for v, b in zip(given, bottoms, strict=True) if step.layer.rereads or b not in in_place}
    protect(saved, in_place)
    for blob, value in zip(tops, made, strict=True):
        blob.set(value)
        blob._data.shared = any(b is not blob and b._data.overlaps(value) for b in bottoms)
    known |= {start(v): b for v, b in zip(made, tops, strict=True)}
    for one in saved:
        if one.tensor is not None and start(one.tensor) in known:
            one.refer(known[start(one.tensor)])
    return Pass(edges, made)


def keep(saved: list[Saved], tensor: Tensor) -> Saved:
    saved.append(Saved(tensor))
    return saved[-1]


def protect(saved: Sequence[Saved], in_place: Sequence[Blob]) -> None:
    """Copies what a layer in place keeps of a blob whose memory a script holds, as its top will be written there."""
    memories = [blob._data for blob in in_place if blob._data.held() is not None]
    for one in saved:
        if one.tensor is not None and any(memory.overlaps(one.tensor) for memory in memories):
            one.tensor = one.tensor.clone()


def start(tensor: Tensor) -> int:
    """Where a tensor's memory starts; 0 for what is no blob's."""
    return tensor.data_ptr() if tensor.dtype == torch.float32 and tensor.numel() else -id(tensor)


class _Enter(torch.autograd.Function):
    """A blob's values as the start of a layer's history; unlike a leaf's they may be overwritten."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, values: Tensor) -> Tensor:
        return torch.empty(0, device=values.device).set_(values)  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


_ANCHOR = torch.zeros((), requires_grad=True)


def enter(values: Tensor) -> Tensor:
    """The same memory, with gradients to be had at its gradient edge."""
    entered: Any = _Enter.apply(_ANCHOR, values.detach())
    return entered
