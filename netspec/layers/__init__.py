"""The catalogue of layer types: every module of this package, and what a user's own packages register.

A package outside announces its layers by the entry point group `netspec.layers` (each names a module), or simply by
being imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from netspec.errors import UnknownLayer, suggestion
from netspec.layers.base import Context, DataLayer, Layer, ParamBlob, Shape, registry
from netspec.schema import load_announced

__all__ = ["Context", "DataLayer", "Layer", "ParamBlob", "Shape", "catalogue", "layer_class"]


@lru_cache(maxsize=1)
def _own() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def catalogue() -> dict[str, type[Layer]]:
    """Every known layer type by its type string, in alphabetical order."""
    _own()
    load_announced()
    return dict(sorted(registry.items(), key=lambda item: item[0].lower()))


def layer_class(type: str) -> type[Layer]:
    """The class of a layer type; an unknown one names its neighbours and says how to add it."""
    _own()
    if type not in registry:
        load_announced()
    if type not in registry:
        raise UnknownLayer(
            f"unknown layer type '{type}'{suggestion(type, registry)}; "
            "to add it, subclass netspec.layers.Layer and import that module first (see CONTRIBUTING.md)"
        )
    return registry[type]
