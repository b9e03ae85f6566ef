"""Caffe's Python interface: `import netspec.pycaffe as caffe`.

Modules are imported when used; `Net` and its blobs are there at once.
"""

from __future__ import annotations

import importlib
from typing import Any

from netspec.pycaffe import layer as _layer
from netspec.pycaffe.blob import Blob
from netspec.pycaffe.layer import Layer
from netspec.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from netspec.pycaffe.net import Net
from netspec.solver.log import log_as_glog_asks

__version__ = "1.0.0"
TRAIN, TEST = 0, 1

_WHERE = {
    "AdaDeltaSolver": "solver",
    "AdaGradSolver": "solver",
    "AdamSolver": "solver",
    "Classifier": "classifier",
    "Detector": "detector",
    "NCCL": "misc",
    "NesterovSolver": "solver",
    "NetSpec": "net_spec",
    "RMSPropSolver": "solver",
    "SGDSolver": "solver",
    "Timer": "misc",
    "get_solver": "solver",
    "has_nccl": "misc",
    "init_log": "misc",
    "layer_type_list": "misc",
    "log": "misc",
    "serve": "alias",
    "set_multiprocess": "misc",
    "set_solver_count": "misc",
    "set_solver_rank": "misc",
    "solver_count": "misc",
    "solver_rank": "misc",
    "to_proto": "net_spec",
}
_MODULES = (
    "_caffe",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "io",
    "layers",
    "net_spec",
    "params",
    "proto",
    "pycaffe",
)
__all__ = [
    "TEST",
    "TRAIN",
    "Blob",
    "Layer",
    "Net",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]

_layer.register()
log_as_glog_asks()


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, *_WHERE, *_MODULES])
