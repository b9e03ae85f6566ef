"""Layers written in Python for Caffe: `caffe.Layer` subclasses that a net names by module and class."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.data.published import is_published
from netspec.errors import LayerError, SpecError, suggestion
from netspec.layers import python
from netspec.layers.base import Context, ParamBlob, Shape
from netspec.pycaffe import attributes
from netspec.pycaffe.blob import Blob


class Blobs(list[Blob]):
    """A layer's parameter blobs."""

    def add_blob(self, *shape: int) -> Blob:
        """A further blob, of zeros."""
        self.append(Blob(shape))
        return self[-1]


class Layer:
    """What a Python layer derives from. `bottom` and `top` are lists of Blobs.

    Before `setup` these are there: `param_str`, `phase` (TRAIN or TEST), `blobs` (with `add_blob`),
    `share_in_parallel`. `setup` runs once, `reshape` (which gives the tops their shapes) before every `forward`.
    Snapshots keep its attributes (see `attributes`); with `state()` and `restore(state)` it says itself, as JSON, what.
    """

    param_str = ""
    phase = 0
    share_in_parallel = False
    blobs: Blobs

    def __init__(self, param: Any = None, *more: Any) -> None:
        self.layer_param = param

    @property
    def param_str_(self) -> str:
        """The name of older releases."""
        return self.param_str

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Reads param_str, checks the numbers of bottoms and tops, adds parameter blobs."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gives the tops their shapes."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Writes the tops' data."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Writes the bottoms' diffs from the tops'; adds to the diffs of `blobs`."""


class LayerView:
    """What `net.layers` lists: a layer's type and parameter blobs."""

    def __init__(self, type: str, blobs: Sequence[Blob]) -> None:
        self.type = type
        self.blobs = list(blobs)


class PythonView:
    """A Python layer in `net.layers`: the script's own object, but for type and blobs, which are the net's."""

    def __init__(self, user: Layer, type: str, blobs: Sequence[Blob]) -> None:
        vars(self).update(_user=user, type=type, blobs=list(blobs))

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_user"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._user, name, value)


def view(layer: Any, type: str, blobs: Sequence[Blob]) -> Any:
    """What `net.layers` shows of a layer."""
    return PythonView(layer.user, type, blobs) if isinstance(layer, UserPython) else LayerView(type, blobs)


class UserPython(python.Python, abstract=True):
    """A net's layer that runs a `caffe.Layer`.

    Blobs: blob0, blob1, ...: what setup added, with the values it gave them.
    Errors: a module that is not on the Python path, a class it does not have. What the class raises passes through.
    """

    def setup(self) -> None:
        user = find(self.p.module, self.p.layer)(self.proto)
        user.param_str = self.p.param_str
        user.phase = ("TRAIN", "TEST").index(self.phase)
        user.share_in_parallel = self.p.share_in_parallel
        user.blobs = Blobs()
        self.user: Layer = user
        self.is_data = not self.proto.bottom
        self.bottom = [Blob(()) for _ in self.proto.bottom]
        names = list(self.proto.bottom)
        self.top = [
            self.bottom[i] if i < len(names) and names[i] == name else Blob(()) for i, name in enumerate(self.proto.top)
        ]
        self._set_up = False
        self._shaped: tuple[Shape, ...] | None = None

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if self._shaped != tuple(bottoms):
            for blob, shape in zip(self.bottom, bottoms, strict=True):
                blob._resize(tuple(shape))
            if not self._set_up:
                self.user.setup(self.bottom, self.top)
                self._set_up = True
            self.user.reshape(self.bottom, self.top)
            self._shaped = tuple(bottoms)
        return [blob.shape for blob in self.top]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        return [ParamBlob(f"blob{i}", b.shape, value=b.data.copy()) for i, b in enumerate(self.user.blobs)]

    def forward(self, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
        if self.top and any(t.requires_grad for t in (*bottoms, *params)):
            return list(_Run.apply(self, len(bottoms), *bottoms, *params))  # type: ignore[arg-type]
        return self.run(bottoms, params)

    def run(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        """One forward pass of the user's code; tops are copies, as its blobs are written again by the next."""
        self.take(bottoms, params)
        self.user.reshape(self.bottom, self.top)
        self._shaped = None
        self.user.forward(self.bottom, self.top)
        for blob, param in zip(self.user.blobs, params, strict=True):
            blob.tensor(param.device)
        return [blob.tensor().clone() for blob in self.top]

    def memory(self) -> Any:
        """What the user's code says with `state()`, else its attributes."""
        return self.user.state() if hasattr(self.user, "state") else attributes.kept(self.user)

    def recall(self, memory: Any) -> None:
        if hasattr(self.user, "restore"):
            return self.user.restore(memory)
        try:
            attributes.restore(self.user, memory)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise SpecError(f"the saved attributes of layer '{self.name}' are damaged ({e})") from None

    def take(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        """Shows values of the net to the user's code; a bottom that is also a top is copied."""
        for blob, value in zip(self.bottom, bottoms, strict=True):
            blob.take(value.clone() if any(blob is top for top in self.top) else value)
        for blob, value in zip(self.user.blobs, params, strict=True):
            blob.take(value)

    def back(self, needs: Sequence[bool], saved: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor | None]:
        """One backward pass: the gradients of bottoms and parameters. `saved`: bottoms, parameters, tops."""
        n, m = len(self.bottom), len(self.user.blobs)
        self.take(saved[:n], saved[n : n + m])
        for blob, value, grad in zip(self.top, saved[n + m :], grads, strict=True):
            blob.tensor().copy_(value)
            blob.set_gradient(grad.cpu())
        for blob in self.user.blobs:
            blob.set_gradient(None)
        self.user.backward(self.top, list(needs[:n]), self.bottom)
        blobs = [*self.bottom, *self.user.blobs]
        devices = [t.device for t in saved]
        return [b.gradient().to(d, copy=True) if w else None for b, d, w in zip(blobs, devices, needs, strict=False)]


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: UserPython, bottoms: int, *values: Tensor) -> tuple[Tensor, ...]:
        tops = tuple(layer.run(values[:bottoms], values[bottoms:]))
        ctx.layer = layer
        ctx.save_for_backward(*values, *tops)
        return tops

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.layer.back(ctx.needs_input_grad[2:], ctx.saved_tensors, grads)


def find(module: str, name: str) -> Any:
    """A layer's class, by names on the Python path."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name == "caffe":
            raise LayerError(
                f"module '{module}' imports caffe; run the script with `netspec python`, "
                "or call netspec.pycaffe.serve() before the net is made",
                field="python_param.module",
            ) from e
        if e.name is not None and (module == e.name or module.startswith(f"{e.name}.")):
            raise LayerError(f"no module '{module}' is on the Python path", field="python_param.module") from e
        raise
    if not hasattr(found, name):
        raise LayerError(f"module '{module}' has no '{name}'{suggestion(name, dir(found))}", field="python_param.layer")
    return getattr(found, name)


_allowed: list[bool] = []


def allow() -> None:
    """Every net of this process may run code from now on."""
    register()
    _allowed.append(True)


def ask(proto: Any, context: Context) -> type[python.Python] | None:
    """Any Python layer, where a net may run code."""
    return UserPython if context.allow_python or _allowed else None


def ask_first(proto: Any, context: Context) -> type[python.Python] | None:
    """A layer whose module is on the Python path, also one that netspec has a counterpart of, but for the sample."""
    p = proto.python_param
    sampled = context.sample and is_published(p.module, p.layer)
    return ask(proto, context) if not sampled and on_path(p.module) else None


def on_path(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def register() -> None:
    """Lets nets have Python layers of the user's own: before all others, and where no other knows the layer."""
    if ask not in python.python_layers:
        python.python_layers.insert(0, ask_first)
        python.python_layers.append(ask)
