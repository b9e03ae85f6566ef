"""Python: layers by the names of a Python module and class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netspec.data.published import is_published, open_published
from netspec.data.sample import sample_source
from netspec.errors import UnknownLayer
from netspec.ir.words import counted
from netspec.layers.base import Context, DataLayer, Layer, Shape

python_layers: list[Callable[[Any, Context], type[Python] | None]] = []
"""Asked in turn for the class of a Python layer, given its message and context; the first answer counts."""


class Python(Layer):
    """Whatever `module` and `layer` name and `python_layers` know, first the data layers of the published FCN nets.

    Shapes: the layer's own.
    Errors: a layer nobody knows. Code of the user's own runs only where that was allowed.
    Source: Caffe's Python layer. The published ones are read from their names and param_str; no code of theirs runs.
    """

    settings = "python_param"
    bottoms = (0, None)
    tops = (0, None)

    def __new__(cls, proto: Any, context: Context) -> Python:
        return object.__new__(chosen(proto, context) if cls is Python else cls)


def chosen(proto: Any, context: Context) -> type[Python]:
    """The class that stands for a message's module and layer."""
    for ask in python_layers:
        found = ask(proto, context)
        if found is not None:
            return found
    return Unknown


class Unknown(Python, abstract=True):
    """A layer that only code beside the prototxt could be."""

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        name, field = f"{self.p.module}.{self.p.layer}", f"{self.settings}.layer"
        if self.context.allow_python:
            raise UnknownLayer(f"no Python layer '{name}' is known here", field=field)
        raise UnknownLayer(f"'{name}' is Python code of the net's own; running it needs `--allow-python`", field=field)


class PublishedData(Python, DataLayer, abstract=True):
    """A data layer of the published FCN nets, or the embedded sample in its place."""

    bottoms = (0, 0)
    tops = (1, None)

    def setup(self) -> None:
        if self.proto.bottom:
            raise self.fail(f"has {counted(len(self.proto.bottom), 'bottom')} and takes none", "bottom")

    def open(self) -> Any:
        context, names = self.context, (self.p.module, self.p.layer, self.p.param_str, list(self.proto.top))
        share = {"rank": context.rank, "world": context.world, "seed": context.seed}
        if context.sample:
            return sample_source(*names, **share)
        return open_published(*names, root=context.data_root, folder=context.folder, **share)


def published_layer(proto: Any, context: Context) -> type[Python] | None:
    """A layer of the published nets."""
    return PublishedData if is_published(proto.python_param.module, proto.python_param.layer) else None


python_layers.append(published_layer)
