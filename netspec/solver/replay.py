"""Replay: forward and backward of the training net, recorded as one CUDA graph for each size of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.recording import Recorder, recordable, signature
from netspec.solver.precision import Precision


@dataclass(frozen=True)
class Done:
    """A pass: its loss, the outputs, and the gradients it leaves, by parameter."""

    loss: Tensor
    values: dict[Blob, Tensor]
    gradients: list[Tensor | None]


class Replay:
    """Runs passes whose gradients begin anew (`accumulate` false) or add to those that are there.

    Gradients that passes add to lie in the same memory all the time.
    """

    def __init__(self, net: Net, precision: Precision, accumulate: bool) -> None:
        self.net, self.precision, self.accumulate = net, precision, accumulate
        self.parameters = list(net.parameters())
        self.recorder = Recorder()
        self.sums = [torch.zeros_like(p) if p.requires_grad else None for p in self.parameters] if accumulate else []

    @staticmethod
    def fits(net: Net) -> bool:
        """Whether a net's training pass can be recorded."""
        graphs = net.device.type == "cuda" and "cuda_graphs" not in net.context.no_pass
        return graphs and recordable(net.bound) and not net.needs.refused

    def begin(self) -> None:
        """Before the first pass of an iteration."""
        if self.accumulate:
            for p, total in zip(self.parameters, self.sums, strict=True):
                p.grad = total
            for total in self.sums:
                if total is not None:
                    total.zero_()

    def run(self, inputs: Mapping[str, Tensor]) -> Done:
        """One pass; afterwards the parameters have their gradients."""
        drawn = self.net.draw()
        names, blobs = list(inputs), list(drawn)
        given = [*inputs.values(), *drawn.values()]

        def work(tensors: list[Tensor]) -> Done:
            named = dict(zip(names, tensors, strict=False))
            return self._pass(named, dict(zip(blobs, tensors[len(names) :], strict=True)))

        recorded = self.recorder.find(signature(given), work, given)
        done = work(given) if recorded is None else recorded(given)
        for p, gradient in zip(self.parameters, done.gradients, strict=True):
            p.grad = gradient
        return done

    def _pass(self, inputs: Mapping[str, Tensor], drawn: Mapping[Blob, Tensor]) -> Done:
        if not self.accumulate:
            for p in self.parameters:
                p.grad = None
        with self.precision():
            loss, values = self.net.loss(inputs, drawn=drawn)
        loss.backward()
        return Done(loss.value, {b: v.detach() for b, v in values.items()}, [p.grad for p in self.parameters])
