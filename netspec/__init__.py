"""netspec: a declarative net-spec compiler on PyTorch. Public names are imported when used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from netspec import heap

heap.prepare()

__version__ = "0.1.0"

_WHERE = {
    "load": "netspec.pipeline",
    "load_graph": "netspec.pipeline",
    "diff": "netspec.ir.diff",
    "Net": "netspec.net",
    "Solver": "netspec.solver",
    "SpecError": "netspec.errors",
    "Layer": "netspec.layers",
    "Context": "netspec.layers",
    "extend_schema": "netspec.schema",
    "freeze": "netspec.frozen",
    "engine": "netspec.export.engines",
}
__all__ = [
    "Context",
    "Layer",
    "Net",
    "Solver",
    "SpecError",
    "diff",
    "engine",
    "extend_schema",
    "freeze",
    "load",
    "load_graph",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'netspec' has no attribute '{name}'")
    module = import_module(_WHERE[name])
    return module.extend if name == "extend_schema" else getattr(module, name)
