"""`import caffe` served by netspec.pycaffe, for the rest of the process, and scripts run that way."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = "netspec.pycaffe"
NAME = "caffe"


class _Alias(Loader):
    """Gives the module of another name; it keeps its own identity."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.spec: Any = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.target)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != NAME and not fullname.startswith(f"{NAME}."):
            return None
        ours = HERE + fullname[len(NAME) :]
        found = find_spec(ours)
        if found is None:
            return None
        return ModuleSpec(fullname, _Alias(ours), is_package=found.submodule_search_locations is not None)


def serve() -> None:
    """From now on `import caffe` and what is below it is netspec.pycaffe, even if a caffe is installed."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in [n for n in sys.modules if n == NAME or n.startswith(f"{NAME}.")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder())


def run_script(script: str, arguments: Sequence[str] = ()) -> None:
    """Runs a script as `python SCRIPT ARGUMENTS...` would, with `import caffe` served."""
    serve()
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")
