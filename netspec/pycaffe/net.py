"""Net: a net as Caffe's Python interface gives it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netspec import weights as stored
from netspec.errors import SpecError, suggestion
from netspec.layers.memory_data import MemoryData
from netspec.net import Net as CoreNet
from netspec.passes.insert_splits import insert_splits
from netspec.pipeline import as_list, load_graph
from netspec.pycaffe import mode
from netspec.pycaffe.blob import Blob, ParamBlob
from netspec.pycaffe.errors import CallError, NoBlobError, NoLayerError, check_file
from netspec.pycaffe.layer import view
from netspec.pycaffe.layered import Layered
from netspec.pycaffe.shortcut import Shortcut
from netspec.spec.binary import replacing
from netspec.weights import caffemodel, hdf5

PHASES = ("TRAIN", "TEST")
Arrays = dict[str, np.ndarray]


class Net:
    """`Net(file, phase, level=0, stages=None, weights=None)`, and the old `Net(file, weights, phase)`."""

    def __init__(
        self,
        network_file: str | Path,
        *more: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        given: dict[str, Any] = {"phase": phase, "level": level, "stages": stages, "weights": weights}
        old = bool(more) and isinstance(more[0], (str, Path))
        given.update(zip(("weights", "phase") if old else tuple(given), more, strict=False))
        if given["phase"] not in (0, 1):
            raise TypeError("Net wants a phase: caffe.TRAIN or caffe.TEST")
        check_file(network_file)
        graph = load_graph(network_file, PHASES[given["phase"]], given["level"], given["stages"] or ())
        core = CoreNet(insert_splits(graph), mode.context(Path(network_file).parent))
        self._set_up(Layered(core))
        self._shortcut = Shortcut.of(self.layered)
        if given["weights"]:
            check_file(given["weights"])
            self.copy_from(given["weights"])

    @classmethod
    def over(cls, core: CoreNet, device: torch.device) -> Net:
        """A view of a net that somebody else runs too: its layers, its parameters, its place."""
        self = cls.__new__(cls)
        self._set_up(Layered(core, device))
        return self

    def _set_up(self, layered: Layered) -> None:
        self.layered, self.core, self.graph = layered, layered.core, layered.graph
        self._shortcut: Shortcut | None = None
        self.blobs: OrderedDict[str, Blob] = layered.blobs
        self.blob_loss_weights = OrderedDict((name, layered.loss_weights.get(name, 0.0)) for name in self.blobs)
        specs = self.graph.layers
        rows = list(zip(layered.core.steps, layered.params, strict=True))
        self.layers: list[Any] = [view(step.layer, step.spec.type, blobs) for step, blobs in rows]
        self.params: OrderedDict[str, list[ParamBlob]] = OrderedDict((s.spec.name, blobs) for s, blobs in rows if blobs)
        self._layer_names = [spec.name for spec in specs]
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers, strict=True))
        self.bottom_names = OrderedDict((s.name, [b.name for b in s.bottoms]) for s in specs)
        self.top_names = OrderedDict((s.name, [b.name for b in s.tops]) for s in specs)
        self.inputs = list(layered.inputs)
        self.outputs = [b.name for b in self.graph.outputs]

    # -- the names that Caffe's own wrapper is built on

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(b.name) for b in self.graph.layers[layer].bottoms]

    def _top_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(b.name) for b in self.graph.layers[layer].tops]

    # -- forward

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **inputs: Any
    ) -> Arrays:
        """Runs layers start..end (all by default); returns the outputs (of `end`, if given) and the blobs named.

        Keyword arguments are arrays for all input blobs, of the blobs' own shape.
        """
        if inputs:
            self._fill(inputs, self.inputs, "input", lambda blob: blob.data)
        self._forward(self._number(start, 0), self._number(end, len(self.layers) - 1))
        names = self.top_names[end] if end is not None else self.outputs
        return {name: self._blob(name).data for name in (*names, *(blobs or ()))}

    def _forward(self, start: int, end: int) -> float:
        """Runs layers by number; the loss of those that have a weight in it."""
        whole = start == 0 and end == self.layered.end
        if whole and self._shortcut and self._shortcut.forward():
            return 0.0
        self._leave_shortcut()
        return self.layered.forward(start, end)

    def _leave_shortcut(self) -> None:
        """From now on the net runs layer by layer."""
        if self._shortcut:
            self._shortcut.leave()

    def _fill(self, arrays: Mapping[str, Any], names: Sequence[str], word: str, part: Callable[[Blob], Any]) -> None:
        if set(arrays) != set(names):
            raise SpecError(f"the net's {word}s are {sorted(names)}; found {sorted(arrays)}")
        for name, value in arrays.items():
            blob = self.blobs[name]
            if blob.shape and np.shape(value)[:1] != blob.shape[:1]:
                raise SpecError(f"{word} '{name}' has batch size {blob.shape[0]}, not {np.shape(value)[:1]}")
            part(blob)[...] = value

    def _number(self, layer: str | None, default: int) -> int:
        if layer is None:
            return default
        if layer not in self._layer_names:
            raise NoLayerError(f"the net has no layer '{layer}'{suggestion(layer, self._layer_names)}")
        return self._layer_names.index(layer)

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise NoBlobError(f"the net has no blob '{name}'{suggestion(name, self.blobs)}")
        return self.blobs[name]

    # -- backward

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **tops: Any
    ) -> Arrays:
        """Runs layers start..end backwards (all by default); returns the inputs' diffs and those named.

        Keyword arguments are arrays for the diffs of all output blobs. Parameter diffs add up until cleared.
        """
        if tops:
            self._fill(tops, self.outputs, "output", lambda blob: blob.diff)
        self._backward(self._number(start, len(self.layers) - 1), self._number(end, 0))
        names = self.bottom_names[end] if end is not None else self.inputs
        return {name: self._blob(name).diff for name in (*names, *(diffs or ()))}

    def _backward(self, start: int, end: int) -> None:
        """Runs layers by number, downwards."""
        self._leave_shortcut()
        self.layered.backward(start, end)

    def clear_param_diffs(self) -> None:
        """Sets every parameter's diff to zero."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.clear_diff()

    # -- many images

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Any) -> Arrays:
        """Runs any number of items, a batch at a time; the outputs (and blobs named) of all of them."""
        rows: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(inputs):
            for name, value in self.forward(blobs=blobs, **batch).items():
                rows.setdefault(name, []).extend(value.copy())
        return self._joined(rows, inputs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Any
    ) -> tuple[Arrays, Arrays]:
        """Runs any number of items forward and, from arrays for the outputs' diffs, backward."""
        ins = {k: v for k, v in arrays.items() if k in self.inputs}
        tops = {k: v for k, v in arrays.items() if k in self.outputs}
        values: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        for batch, top in zip_longest(self._batch(ins), self._batch(tops), fillvalue={}):
            for name, value in self.forward(blobs=blobs, **batch).items():
                values.setdefault(name, []).extend(value.copy())
            for name, value in self.backward(diffs=diffs, **top).items():
                gradients.setdefault(name, []).extend(value.copy())
        return self._joined(values, ins), self._joined(gradients, ins)

    def _batch(self, arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Arrays in pieces of the net's batch size, the last one filled up with zeros."""
        size = next(iter(self.blobs.values())).shape[0]
        total = len(next(iter(arrays.values()), ()))
        for at in range(0, total, size):
            yield {name: padded(np.asarray(rows[at : at + size]), size) for name, rows in arrays.items()}

    @staticmethod
    def _joined(rows: Mapping[str, list[np.ndarray]], inputs: Mapping[str, Any]) -> Arrays:
        total = len(next(iter(inputs.values()), ()))
        return {name: np.asarray(values[:total]) for name, values in rows.items()}

    # -- shapes, weights, other nets

    def reshape(self) -> None:
        """Carries the shapes of the inputs through the net."""
        if self._shortcut:
            self._shortcut.reshaped()
        self.layered.reshape()

    def copy_from(self, *files: str | Path) -> None:
        """Loads weights by layer name; the suffix tells the format, and without a known one it is a `.caffemodel`."""
        self._settle_shortcut()
        for file in files:
            for one in as_list(file):
                self.core.copy_from(read_weights(one))
        self.layered.forget_arrays()

    def _settle_shortcut(self) -> None:
        if self._shortcut:
            self._shortcut.settle()

    def load_hdf5(self, file: str) -> None:
        """Loads weights from HDF5, whatever the file is called."""
        self._settle_shortcut()
        self.core.copy_from(hdf5.read(file))
        self.layered.forget_arrays()

    def save(self, path: str) -> None:
        """Writes the weights as `.caffemodel`."""
        self.layered.sync()
        with replacing(path) as temporary:
            caffemodel.write(temporary, self.core.to_model())

    def save_hdf5(self, path: str) -> None:
        """Writes the weights as `.caffemodel.h5`."""
        self.layered.sync()
        with replacing(path) as temporary:
            hdf5.write(temporary, self.core.to_model())

    def share_with(self, other: Net) -> None:
        """Takes the parameters of layers of the same name from another net, so that both always agree."""
        self._settle_shortcut()
        other.layered.sync()
        self.core.share_with(other.core)

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Gives the first layer, a MemoryData, its arrays: N x C x H x W, and N labels."""
        layer = self.core.steps[0].layer
        if not isinstance(layer, MemoryData):
            raise CallError("set_input_arrays is for a net whose first layer is MemoryData")
        try:
            layer.set_input_arrays(data, np.reshape(labels, (-1, 1, 1, 1)) if np.ndim(labels) == 1 else labels)
        except SpecError as e:
            raise CallError(e.message, e.loc) from None

    _set_input_arrays = set_input_arrays

    # -- callbacks: called with the layer's number

    def before_forward(self, callback: Callable[[int], Any]) -> None:
        self._add_callback("before_forward", callback)

    def after_forward(self, callback: Callable[[int], Any]) -> None:
        self._add_callback("after_forward", callback)

    def before_backward(self, callback: Callable[[int], Any]) -> None:
        self._add_callback("before_backward", callback)

    def after_backward(self, callback: Callable[[int], Any]) -> None:
        self._add_callback("after_backward", callback)

    def _add_callback(self, event: str, callback: Callable[[int], Any]) -> None:
        self._leave_shortcut()
        self.layered.callbacks[event].append(callback)


def read_weights(file: str | Path) -> stored.Model:
    """A weight file of any known format."""
    known = any(Path(file).name.lower().endswith(suffix) for suffix in stored.FORMATS)
    return stored.read(file) if known else caffemodel.read(file)


def padded(rows: np.ndarray, size: int) -> np.ndarray:
    """`size` rows, zeros after the given ones."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
