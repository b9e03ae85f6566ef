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
    "solver": ("get_solver SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver Solver"),
    "net_spec": "NetSpec to_proto",
    "classifier": "Classifier",
    "detector": "Detector",
    "misc": (
        "NCCL Timer has_nccl init_log layer_type_list log set_multiprocess set_solver_count set_solver_rank "
        "solver_count solver_rank"
    ),
    "alias": "serve",
}
_NAMES = {name: module for module, names in _WHERE.items() for name in names.split()}
_MODULES = ("classifier", "coord_map", "detector", "draw", "io", "layers", "net_spec", "params", "proto", "pycaffe")
__all__ = sorted(
    ["TEST", "TRAIN", "Blob", "Layer", "Net", "set_device", "set_mode_cpu", "set_mode_gpu", "set_random_seed"]
    + [*_NAMES, *_MODULES]
)

_layer.register()
log_as_glog_asks()


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
