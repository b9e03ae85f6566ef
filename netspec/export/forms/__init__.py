"""How each layer type is written outside of Caffe: a form gives its PyTorch source and its ONNX operators.

The modules of this package register the forms of netspec's own layers; a package outside calls `form` for its own.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from netspec.export.nodes import Nodes
from netspec.layers import Layer, Shape

T = TypeVar("T", bound="Form")
REQUIRED = object()


class NotExported(Exception):
    """A layer that cannot be written; the message says which setting is at fault."""


@dataclass(frozen=True)
class Site:
    """One layer where it stands in a net: its values, the declared shapes, and which axes change with the input.

    `scale` is the Scale layer behind a BatchNorm, where both are written as one.
    """

    layer: Layer
    name: str
    params: tuple[np.ndarray, ...]
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]
    varies: tuple[tuple[bool, ...], ...]
    scale: Site | None = None

    @property
    def p(self) -> Any:
        return self.layer.p

    @property
    def rank(self) -> int:
        return len(self.bottoms[0])

    def fixed(self, bottom: int, axes: slice = slice(None)) -> bool:
        """Whether these axes of a bottom have one size, whatever the input's."""
        return not any(self.varies[bottom][axes])


@dataclass(frozen=True)
class Arg:
    """One argument of a module's constructor; a keyword argument is left out where it has its default."""

    name: str
    value: Any
    default: Any = REQUIRED

    @property
    def keyword(self) -> bool:
        return self.default is not REQUIRED


@dataclass(frozen=True)
class Member:
    """What a layer needs in `__init__`: `constructor(args)`, and the values of its state by attribute."""

    constructor: str
    args: tuple[Arg, ...]
    state: Mapping[str, np.ndarray]
    name: str = ""
    """Added to the layer's name, where one layer has several members."""

    @property
    def end(self) -> str:
        return ")" * self.constructor.count("(") + ")"


@dataclass(frozen=True)
class Code:
    """A layer as PyTorch source: one expression per top, or one for all (`joint`).

    In an expression {0}, {1} ... stand for the bottoms and {m0}, {m1} ... for the members. `wraps`: the bottom may be
    an expression itself. `helpers` are names of functions that the file must have.
    """

    exprs: tuple[str, ...]
    members: tuple[Member, ...] = ()
    wraps: bool = False
    joint: bool = False
    helpers: tuple[str, ...] = field(default=())


class Form:
    """How one layer type is written. A form raises NotExported for settings that it has no words for.

    `traced`: torch.export takes its code at any size, for it has no loop and no choice that depends on values.
    `counted`: the axis of the tops whose size depends on values, if any.
    """

    traced = True
    counted: int | None = None

    def code(self, site: Site) -> Code:
        """The layer in PyTorch."""
        raise NotImplementedError

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        """Adds the layer's ONNX operators on the bottoms `x`; the names of its tops."""
        raise NotImplementedError

    def sample(self, site: Site, bottom: int, rng: np.random.Generator, shape: Shape) -> np.ndarray | None:
        """Values to try the net with, where a bottom that is an input does not take any numbers there are."""
        return None

    def reset(self, site: Site) -> None:
        """Forgets what the layer keeps from one run to the next."""


_forms: dict[str, Form] = {}


def form(*types: str) -> Callable[[type[T]], type[T]]:
    """Registers a class as the form of these layer types."""

    def register(cls: type[T]) -> type[T]:
        for type in types:
            _forms[type] = cls()
        return cls

    return register


@lru_cache(maxsize=1)
def _own() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def forms() -> dict[str, Form]:
    """All forms by layer type."""
    _own()
    return _forms


def number(value: float) -> str:
    """A setting as it was written: the shortest text for a float32 (0.0001, not 9.9999997e-05)."""
    return repr(int(value)) if value == int(value) else repr(float(str(np.float32(value)))).replace("e+", "e")


def one(values: tuple[int, ...]) -> Any:
    """One number that stands for all axes, where they agree."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def call(function: str, *args: str, **keywords: Any) -> str:
    """A call's source."""
    named = [f"{k}={v if isinstance(v, str) else repr(v)}" for k, v in keywords.items()]
    return f"{function}({', '.join([*args, *named])})"
