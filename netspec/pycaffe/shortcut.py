"""Shortcut: whole forward passes in the TEST phase as netspec.load's nets run them, with all their passes.

1. A net may take it whose sources are Input layers that nothing overwrites, whose layers give the same from the same
   once more (REPEATABLE), and that has no loss. It does not take it while a script holds an array of a parameter, nor
   any more once it went backward, ran a part of its layers, had a callback, or lent a parameter's array in between.
2. A pass makes the outputs, the blobs that scripts hold arrays of, and those that were asked for after earlier passes.
3. The other blobs wait. Whoever asks for one makes the net run layer by layer, from the inputs as they were.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from netspec.halo import Halo
from netspec.ir.graph import Blob as Value
from netspec.net import Net as CoreNet
from netspec.passes.bind import Bound
from netspec.passes.halo_elision import halo_elision
from netspec.pycaffe.blob import memories
from netspec.pycaffe.layered import Layered
from netspec.pycaffe.memory import Memory

REPEATABLE = frozenset(
    [
        "AbsVal",
        "ArgMax",
        "BNLL",
        "BatchNorm",
        "Bias",
        "Clip",
        "Concat",
        "Convolution",
        "Crop",
        "Deconvolution",
        "Dropout",
        "ELU",
        "Eltwise",
        "Exp",
        "Flatten",
        "Im2col",
        "InnerProduct",
        "Input",
        "LRN",
        "Log",
        "MVN",
        "PReLU",
        "Pooling",
        "Power",
        "ReLU",
        "Reduction",
        "Reshape",
        "SPP",
        "Scale",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Swish",
        "TanH",
        "Threshold",
        "Tile",
    ]
)


class Shortcut:
    """The quick way of one net, and what its last quick pass left to do."""

    def __init__(self, net: Layered) -> None:
        self.net = net
        self.core, self.sources = joined(net.core)
        self.asked: set[str] = set()
        self._outputs = [b.name for b in net.graph.outputs]
        self.off = False
        self._inputs: dict[str, Tensor] | None = None
        self._shapes = self._input_shapes()

    @classmethod
    def of(cls, net: Layered) -> Shortcut | None:
        """The shortcut of a net that may take one."""
        core, inputs = net.core, set(net.inputs)
        overwritten = any(top.version for top in core.graph.blobs if top.name in inputs)
        alike = all(
            spec.type in REPEATABLE and layer.phase == "TEST" and getattr(layer, "stored", True)
            for spec, layer in core.bound
        )
        return cls(net) if alike and inputs and not overwritten and not core.losses else None

    def forward(self) -> bool:
        """A whole pass; False where the layered one has to do it."""
        device, parameters = self.net.place(), list(self.core.parameters())
        if self.off or any(memories(p)[0].held() is not None for p in parameters):
            self.settle()
            return False
        if self._input_shapes() != self._shapes:
            self.reshaped()
            self.net.reshape()
        inputs = {name: self.net.blobs[name].tensor(device) for name in self.net.inputs}
        names = self._wanted()
        with torch.no_grad():
            values = self.core.run([self.core.last[n] for n in names], inputs)
        self._inputs = {name: value.clone() for name, value in inputs.items()}
        self.net.forget_passes()
        self._show({**inputs, **{n: values[self.core.last[n]] for n in names}})
        for p in parameters:
            memories(p)[0].watchers.add(self)
        return True

    def _input_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self.net.blobs[name].shape for name in self.net.inputs}

    def _wanted(self) -> list[str]:
        held = [n for n, blob in self.net.blobs.items() if blob._data.held() is not None]
        wanted = {self.sources.get(n, n) for n in (*self._outputs, *self.asked, *held)}
        return [n for n in self.core.last if n in wanted and n not in self.net.inputs]

    def _show(self, values: Mapping[str, Tensor]) -> None:
        """Values into their blobs and the blobs that repeat them; all other blobs wait."""
        for name, blob in self.net.blobs.items():
            source = self.sources.get(name, name)
            if source not in values:
                blob._data.pending = partial(self.complete, name)
            elif name not in self.net.inputs:
                blob.set(values[source])
                blob._data.shared = name != source

    def complete(self, name: str) -> None:
        """Makes what the last quick pass left out; from now on such passes make this blob too."""
        self.asked.add(name)
        self.settle()

    def leave(self) -> None:
        """Completes the last quick pass; it was the last one."""
        self.off = True
        self.settle()

    def reshaped(self) -> None:
        """Blobs have new shapes: unless those of the last pass, what was left out is never made."""
        self._shapes = self._input_shapes()
        if self._inputs is not None and self._shapes != {n: tuple(t.shape) for n, t in self._inputs.items()}:
            self._inputs = None
            self._stop_waiting()

    def settle(self) -> None:
        """Makes all blobs that wait, layer by layer from the inputs as they were; the others keep what they have."""
        if self._inputs is None:
            return
        inputs, self._inputs = self._inputs, None
        waiting = self._stop_waiting()
        kept = {blob: (blob._data, blob._shape) for name, blob in self.net.blobs.items() if name not in waiting}
        for blob in kept:
            blob._data = Memory(blob.count)
        for name, value in inputs.items():
            self.net.blobs[name].take(value)
        self.net.forward(0, self.net.end)
        for blob, (data, shape) in kept.items():
            blob._data, blob._shape = data, shape

    def _stop_waiting(self) -> set[str]:
        for p in self.core.parameters():
            memories(p)[0].watchers.discard(self)
        waiting = {name for name, blob in self.net.blobs.items() if blob._data.pending is not None}
        for name in waiting:
            self.net.blobs[name]._data.pending = None
        return waiting


def joined(core: CoreNet) -> tuple[CoreNet, dict[str, str]]:
    """The same net (its layers, its parameters) without Split layers, and which blob each of their tops repeats."""
    same: dict[Value, Value] = {}
    steps, layers = [], []
    for step, layer in zip(core.steps, core.bound.layers, strict=True):
        bottoms = tuple(same.get(b, b) for b in step.spec.bottoms)
        if step.spec.type == "Split":
            same.update(dict.fromkeys(step.spec.tops, bottoms[0]))
            continue
        steps.append(replace(step, spec=replace(step.spec, bottoms=bottoms)))
        layers.append(layer)
    graph = replace(core.graph, layers=tuple(step.spec for step in steps)).verify("joined")
    quick = copy.copy(core)
    quick.graph, quick.steps, quick.last = graph, steps, graph.last()
    quick.bound = Bound(graph, tuple(layers))
    quick._courses = {}
    chains = () if "halo_elision" in core.context.no_pass else halo_elision(quick.bound)
    quick.halos = {chain.layers[0]: Halo(chain) for chain in chains}
    last = core.last
    sources = {t.name: b.name for t, b in same.items() if last[t.name] == t and quick.last.get(b.name) == b}
    return quick, sources
