"""debug_info: the mean absolute value of every blob, its gradient and every parameter, as Caffe logs them.

The nets have Split layers, so that a value read by several layers has a line for each, as in Caffe. Training tells of
the iterations that are displayed, tests of every pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.solver.log import say
from netspec.solver.rules import kernels


class Debug:
    """Lines of one pass: `forward` after it, `backward` after its backward."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.blobs = net.graph.blobs
        for step in net.steps:
            step.layer.overwrite = False  # every blob keeps its own values

    def forward(self, values: Mapping[Blob, Tensor]) -> None:
        """[Forward] lines; gradients of blobs are kept from here on."""
        for step in self.net.steps:
            for top in step.spec.tops:
                say("net.cpp:591", f"    [Forward] Layer {step.spec.name}, top blob {top} data: {mean(values[top]):g}")
                if values[top].requires_grad:
                    values[top].retain_grad()
            for i, param in enumerate(step.params()):
                shown = f"param blob {shown_name(step.spec.proto.param, i)} data: {mean(param):g}"
                say("net.cpp:603", f"    [Forward] Layer {step.spec.name}, {shown}")

    def backward(self, values: Mapping[Blob, Tensor]) -> None:
        """[Backward] lines, from the last layer to the first, and the norms of all parameters."""
        for step, needed in reversed(list(zip(self.net.steps, self.net.needs.layers, strict=True))):
            if not needed:
                continue
            name = step.spec.name
            for bottom, wanted in zip(step.spec.bottoms, step.gradient, strict=True):
                if wanted:
                    shown = mean(values[bottom].grad)
                    say("net.cpp:619", f"    [Backward] Layer {name}, bottom blob {bottom} diff: {shown:g}")
            for i, param in enumerate(step.blobs.blobs() if step.blobs else []):
                if param.requires_grad:
                    say("net.cpp:628", f"    [Backward] Layer {name}, param blob {i} diff: {mean(param.grad):g}")
        params = [p.detach() for p in self.net.parameters()]
        grads = [p.grad for p in self.net.parameters() if p.grad is not None]
        norms = [(norm(params, order), norm(grads, order)) for order in (1, 2)]
        shown = "; ".join(f"L{i + 1} norm = ({a:g}, {b:g})" for i, (a, b) in enumerate(norms))
        say("net.cpp:577", f"    [Backward] All net params (data, diff): {shown}")


def shown_name(params: Sequence, index: int) -> str:
    """The name a layer gives its parameter blob, else the blob's number."""
    return (params[index].name if index < len(params) else "") or str(index)


def mean(values: Tensor | None) -> float:
    """The mean absolute value; 0 of nothing."""
    return float(values.detach().float().abs().mean()) if values is not None and values.numel() else 0.0


def norm(tensors: Sequence[Tensor], order: int) -> float:
    """The norm of all values together."""
    if not tensors:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack(kernels._foreach_norm(list(tensors), order)), order))
