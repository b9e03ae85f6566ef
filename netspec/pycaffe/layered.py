"""Layered: a net run layer by layer, on blobs that scripts read, write and reshape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from netspec.ir.graph import Blob as Value
from netspec.layers.dummy_data import DummyData
from netspec.net import Net as CoreNet
from netspec.pycaffe import mode, tape
from netspec.pycaffe.blob import Blob, ParamBlob

EVENTS = ("before_forward", "after_forward", "before_backward", "after_backward")


class Layered:
    """The blobs and parameters of a net, and passes over its layers by their numbers.

    `device`: where it runs; None for where the mode says at each pass. `callbacks` are called with the layer's number.
    """

    def __init__(self, core: CoreNet, device: torch.device | None = None) -> None:
        self.core, self.graph, self._device = core, core.graph, device
        self.inputs = [b.name for b in self.graph.inputs]
        self.loss_weights = {blob.name: weight.value for blob, weight in core.losses.items()}
        self.blobs: OrderedDict[str, Blob] = OrderedDict(
            (name, Blob(core.blob_shapes[value], self.loss_weights.get(name, 0.0))) for name, value in core.last.items()
        )
        self.params = [[ParamBlob(step, i) for i in range(len(step.shapes))] for step in core.steps]
        self.callbacks: dict[str, list[Callable[[int], Any]]] = {event: [] for event in EVENTS}
        self._passes: dict[int, tape.Pass] = {}
        self._constants: list[tuple[dict[int, Tensor], int, Blob]] = []
        self._fill_dummies()

    def _fill_dummies(self) -> None:
        """DummyData's blobs have values from the start; what scripts write into constant ones stays."""
        for step in self.core.steps:
            if isinstance(step.layer, DummyData):
                for index, (top, value) in enumerate(zip(step.spec.tops, step.layer.forward([], []), strict=True)):
                    if self.core.last[top.name] == top:
                        self.blobs[top.name].take(value)
                        self._constants += [(step.layer.constant, index, self.blobs[top.name])]

    # -- forward

    @property
    def end(self) -> int:
        """The number of the last layer."""
        return len(self.core.steps) - 1

    def forward(self, start: int, end: int) -> float:
        """Runs layers by number; the loss of those that have a weight in it."""
        device = self.place()
        loss = 0.0
        for number in range(start, end + 1):
            self._call("before_forward", number)
            self._forward_layer(number, device)
            loss += sum(self._loss(value) for value in self.graph.layers[number].tops if value in self.core.losses)
            self._call("after_forward", number)
        return loss

    def _loss(self, value: Value) -> float:
        return self.core.losses[value].value * float(self.blobs[value.name].tensor().sum())

    def _forward_layer(self, number: int, device: torch.device) -> None:
        step = self.core.steps[number]
        if step.spec.type == "Input":
            return
        self._passes.pop(number, None)
        bottoms = [self.blobs[b.name] for b in step.spec.bottoms]
        self._passes[number] = tape.forward(step, bottoms, self._tops(number), device)

    def _tops(self, number: int) -> list[Blob]:
        return [self.blobs[b.name] for b in self.graph.layers[number].tops]

    def _call(self, event: str, layer: int) -> None:
        for callback in self.callbacks[event]:
            callback(layer)

    # -- backward

    def backward(self, start: int, end: int) -> None:
        """Runs layers by number, downwards."""
        if self.core.needs.refused:
            raise self.core.needs.refused[0]
        device = self.place()
        for number in range(start, end - 1, -1):
            self._call("before_backward", number)
            if self.core.needs.layers[number] and self.core.steps[number].spec.type != "Input":
                self._backward_layer(number, device)
            self._call("after_backward", number)

    def _backward_layer(self, number: int, device: torch.device) -> None:
        step = self.core.steps[number]
        params = [p for p, learns in zip(step.blobs.blobs(), step.learns, strict=True) if learns] if step.blobs else []
        diffs = [blob.gradient(device) for blob in self._tops(number)]
        bottoms, own = self._pass(number, device).gradients(diffs, params)
        takers = [v for v, g in zip(step.spec.bottoms, step.gradient, strict=True) if g]
        for value, grad in zip(takers, bottoms, strict=True):
            self.blobs[value.name].set_gradient(grad)
        for param, grad in zip(params, own, strict=True):
            add_gradient(param, grad, step.layer.replaces_diff)

    def _pass(self, number: int, device: torch.device) -> tape.Pass:
        """The layer's last forward; where there was none, one that leaves its tops as they are."""
        if number not in self._passes:
            kept = [(blob, blob.tensor(device).clone()) for blob in self._tops(number)]
            self._forward_layer(number, device)
            for blob, values in kept:
                blob.set(values)
        return self._passes[number]

    # -- shapes, places, runs elsewhere

    def reshape(self) -> None:
        """Carries the shapes of the net's sources through the net."""
        sources = {t.name for spec, layer in self.core.bound if layer.is_data for t in spec.tops}
        given = {name: self.blobs[name].shape for name in (*self.inputs, *sources)}
        for value, shape in self.core.reshaped(given).items():
            if value == self.core.last[value.name]:
                self.blobs[value.name]._resize(tuple(shape))

    def place(self) -> torch.device:
        """Moves the parameters where nets run now, with what scripts wrote into them."""
        device = self._device or mode.device()
        if self.core.device != device:
            self.core.to(device)
        self.sync()
        for constant, index, blob in self._constants:
            if index in constant:
                constant[index] = blob.tensor(device)
        return device

    def sync(self) -> None:
        """Brings what scripts wrote into parameters to the net."""
        for blobs in self.params:
            for blob in blobs:
                blob.sync()

    def forget_arrays(self) -> None:
        """The parameters have new values; what scripts wrote into arrays before is past."""
        for blobs in self.params:
            for blob in blobs:
                blob.forget_array()

    def forget_passes(self) -> None:
        """The blobs come from elsewhere; backward must not go by earlier passes."""
        self._passes.clear()

    def given(self) -> dict[str, Tensor]:
        """The input blobs as tensors, before a run elsewhere; what the last one left is let go."""
        device = self.place()
        self.forget_passes()
        for name, blob in self.blobs.items():
            if name not in self.inputs:
                blob.free()
        return {name: self.blobs[name].tensor(device) for name in self.inputs}

    def show(self, values: Mapping[Value, Tensor]) -> None:
        """Takes values that the net was run to elsewhere."""
        for value, tensor in values.items():
            if value.name in self.blobs and self.core.last[value.name] == value:
                self.blobs[value.name].set(tensor)


def add_gradient(param: torch.nn.Parameter, grad: Tensor | None, replace: bool) -> None:
    """Parameter diffs add up, except in layers whose backward writes over them."""
    if grad is None:
        return
    if param.grad is None:
        param.grad = torch.zeros_like(param)
    if replace:
        param.grad.copy_(grad)
    else:
        param.grad.add_(grad)
