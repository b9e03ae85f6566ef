"""Net: runs layer by layer on blobs that scripts read, write and reshape, as Caffe's Python interface does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec import weights as stored
from netspec.errors import SpecError
from netspec.ir.graph import Blob as Value
from netspec.ir.graph import Graph
from netspec.layers import Context
from netspec.net import Net as CoreNet
from netspec.net import Step
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.insert_splits import insert_splits
from netspec.pipeline import as_list, load_graph
from netspec.pycaffe.blob import Blob, ParamBlob

PHASES = ("TRAIN", "TEST")


class LayerView:
    """What `net.layers` lists: a layer's type and parameter blobs."""

    def __init__(self, type: str, blobs: Sequence[Blob]) -> None:
        self.type = type
        self.blobs = list(blobs)


class Net:
    """`Net(file, phase, level=0, stages=None, weights=None)`, and the old `Net(file, weights, phase)`."""

    def __init__(
        self,
        network_file: str,
        phase: int | str | None = None,
        *old: int,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | None = None,
    ) -> None:
        if isinstance(phase, str) and old:
            phase, weights = old[0], phase
        if not isinstance(phase, int):
            raise TypeError("Net wants a phase: caffe.TRAIN or caffe.TEST")
        graph = load_graph(network_file, PHASES[phase], level, stages or ())
        self._set_up(CoreNet(insert_splits(graph), Context(folder=Path(network_file).parent)))
        if weights:
            self.copy_from(weights)

    @classmethod
    def over(cls, core: CoreNet) -> Net:
        """A view of a net that somebody else runs: the same parameters and data layers."""
        self = cls.__new__(cls)
        split = CoreNet(insert_splits(written(core.graph)), core.context, data_shapes(core))
        split.share_with(core)
        ours = dict(core.data_layers())
        for step in split.steps:
            step.layer = ours.get(step.spec.name, step.layer) if step.layer.is_data else step.layer
        self._set_up(split)
        return self

    def _set_up(self, core: CoreNet) -> None:
        self.core = core
        self.graph = core.graph
        for step in core.steps:
            step.layer.overwrite = False
        self._record: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        weights = {blob.name: w.value for blob, w in core.losses.items()}
        self.blobs: OrderedDict[str, Blob] = OrderedDict(
            (name, Blob(core.blob_shapes[value], weights.get(name, 0.0))) for name, value in core.last.items()
        )
        self.blob_loss_weights = OrderedDict((name, weights.get(name, 0.0)) for name in self.blobs)
        self.params: OrderedDict[str, list[Blob]] = OrderedDict()
        self.layers: list[LayerView] = []
        for step in core.steps:
            own = step.blobs.blobs() if step.blobs else []
            blobs: list[Blob] = [ParamBlob(p, shape) for p, shape in zip(own, step.shapes, strict=True)]
            self.layers.append(LayerView(step.spec.type, blobs))
            if blobs:
                self.params[step.spec.name] = blobs

    @property
    def _blob_loss_weights(self) -> OrderedDict[str, float]:
        return self.blob_loss_weights

    @property
    def _layer_names(self) -> list[str]:
        return [spec.name for spec in self.graph.layers]

    @property
    def layer_dict(self) -> OrderedDict[str, LayerView]:
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((s.name, [b.name for b in s.bottoms]) for s in self.graph.layers)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((s.name, [b.name for b in s.tops]) for s in self.graph.layers)

    @property
    def inputs(self) -> list[str]:
        return [b.name for b in self.graph.inputs]

    @property
    def outputs(self) -> list[str]:
        return [b.name for b in self.graph.outputs]

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **inputs: Any
    ) -> dict[str, np.ndarray]:
        """Runs layers start..end (all by default); returns the outputs and the blobs named.

        Keyword arguments are arrays for input blobs, of the blobs' own shape.
        """
        for name, value in inputs.items():
            self._fill_input(name, value)
        first, last = self._range(start, end)
        for number in range(first, last + 1):
            self._forward_layer(number)
        names = [end] if end is not None else self.outputs
        tops = self.top_names[end] if end is not None else names
        return {name: self.blobs[name].data for name in (*tops, *(blobs or ()))}

    def _fill_input(self, name: str, value: Any) -> None:
        if name not in self.inputs:
            raise SpecError(f"'{name}' is no input of the net; its inputs are {self.inputs}")
        blob = self.blobs[name]
        if np.shape(value)[0] != blob.shape[0]:
            raise SpecError(f"input '{name}' has batch size {blob.shape[0]}, not {np.shape(value)[0]}")
        blob.data[...] = value

    def _range(self, start: str | None, end: str | None) -> tuple[int, int]:
        names = self._layer_names
        for name in (start, end):
            if name is not None and name not in names:
                raise SpecError(f"the net has no layer '{name}'")
        return names.index(start) if start else 0, names.index(end) if end else len(names) - 1

    def _forward_layer(self, number: int) -> None:
        step = self.core.steps[number]
        if step.spec.type == "Input":
            return
        bottoms = [
            self.blobs[b.name].tensor().detach().requires_grad_(need)
            for b, need in zip(step.spec.bottoms, step.gradient, strict=True)
        ]
        tops = step.run(bottoms)
        self._record[number] = (bottoms, tops)
        for value, top in zip(step.spec.tops, tops, strict=True):
            self.blobs[value.name].set(top)

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **tops: Any
    ) -> dict[str, np.ndarray]:
        """Runs layers start..end backwards (all by default); returns the inputs' diffs and those named.

        Keyword arguments are arrays for the diffs of output blobs. Parameter diffs add up until cleared.
        """
        for name, value in tops.items():
            if name not in self.outputs:
                raise SpecError(f"'{name}' is no output of the net; its outputs are {self.outputs}")
            self.blobs[name].diff[...] = value
        last, first = self._range(end, start)
        for number in range(first, last - 1, -1):
            if self.core.needs.layers[number] or self.graph.force_backward:
                self._backward_layer(number)
        bottoms = self.bottom_names[end] if end is not None else self.inputs
        return {name: self.blobs[name].diff for name in (*bottoms, *(diffs or ()))}

    def _backward_layer(self, number: int) -> None:
        step = self.core.steps[number]
        if number not in self._record:
            return
        bottoms, tops = self._record[number]
        needed = [b for b, g in zip(bottoms, step.gradient, strict=True) if g]
        params = [p for p in (step.blobs.blobs() if step.blobs else []) if p.requires_grad]
        outs = [
            (t, self.blobs[v.name].gradient()) for v, t in zip(step.spec.tops, tops, strict=True) if t.requires_grad
        ]
        if not outs or not (needed or params):
            return
        grads = torch.autograd.grad(
            [t for t, _ in outs],
            [*needed, *params],
            [g.view(t.shape) for t, g in outs],
            retain_graph=True,
            allow_unused=True,
        )
        self._write_gradients(step, grads[: len(needed)])
        for param, grad in zip(params, grads[len(needed) :], strict=True):
            add_gradient(param, grad, step.layer.replaces_diff)

    def _write_gradients(self, step: Step, grads: Sequence[Tensor | None]) -> None:
        values = [v for v, g in zip(step.spec.bottoms, step.gradient, strict=True) if g]
        for value, grad in zip(values, grads, strict=True):
            self.blobs[value.name].set_gradient(grad)

    def reshape(self) -> None:
        """Carries the shapes of the inputs through the net."""
        given = {name: self.blobs[name].shape for name in self.inputs}
        given.update(data_shapes(self.core))
        for value, shape in infer_shapes(self.core.bound, given).items():
            if value == self.core.last[value.name]:
                self.blobs[value.name]._resize(tuple(shape))

    def clear_param_diffs(self) -> None:
        """Sets every parameter's diff to zero."""
        for parameter in self.core.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()

    def copy_from(self, *files: str) -> None:
        """Loads weights by layer name from `.caffemodel`, `.h5`, or any other known format."""
        for file in files:
            for one in as_list(file):
                self.core.copy_from(stored.read(one))

    load_hdf5 = copy_from

    def save(self, path: str) -> None:
        """Writes the weights as `.caffemodel`."""
        stored.caffemodel.write(path, self.core.to_model())

    def save_hdf5(self, path: str) -> None:
        """Writes the weights as `.caffemodel.h5`."""
        stored.hdf5.write(path, self.core.to_model())

    def share_with(self, other: Net) -> None:
        """Shares the parameters of layers of the same name."""
        self.core.share_with(other.core)
        self._set_up(self.core)

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Gives the first layer, a MemoryData, its arrays."""
        layer: Any = self.core.steps[0].layer
        if not hasattr(layer, "set_input_arrays"):
            raise SpecError("set_input_arrays is for a net whose first layer is MemoryData")
        layer.set_input_arrays(data, labels)

    def show(self, values: dict[Value, Tensor]) -> None:
        """Takes values that the net was run to elsewhere, by a solver."""
        for value, tensor in values.items():
            if value.name in self.blobs:
                self.blobs[value.name].set(tensor)
        for spec in self.graph.layers:
            if spec.type == "Split":
                for top in spec.tops:
                    self.blobs[top.name].set(self.blobs[spec.bottoms[0].name].tensor())

    def given(self) -> dict[str, Tensor]:
        """The input blobs as tensors."""
        return {name: self.blobs[name].tensor() for name in self.inputs}


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


def data_shapes(core: CoreNet) -> dict[str, tuple[int, ...]]:
    """The shapes that data layers' tops have now, so that they need not be asked again."""
    return {t.name: core.blob_shapes[t] for spec, layer in core.bound if layer.is_data for t in spec.tops}


def written(graph: Graph) -> Graph:
    """The graph without the tops that loss layers made by themselves, ready to be bound again."""
    from dataclasses import replace

    from netspec.ir.graph import AUTOMATIC

    layers = tuple(replace(s, tops=tuple(t for t in s.tops if t.name != AUTOMATIC)) for s in graph.layers)
    return replace(graph, layers=layers)
