"""Caffe's Python interface: `import netspec.pycaffe as caffe`."""

from __future__ import annotations

from netspec.pycaffe.blob import Blob
from netspec.pycaffe.mode import set_mode_cpu, set_random_seed
from netspec.pycaffe.net import Net

__all__ = ["TEST", "TRAIN", "Blob", "Net", "set_mode_cpu", "set_random_seed"]
__version__ = "1.0.0"

TRAIN, TEST = 0, 1
_SOLVERS = (
    "get_solver",
    "SGDSolver",
    "NesterovSolver",
    "AdaGradSolver",
    "RMSPropSolver",
    "AdaDeltaSolver",
    "AdamSolver",
)


def __getattr__(name: str) -> object:
    if name in _SOLVERS:
        from netspec.pycaffe import solver

        return getattr(solver, name)
    raise AttributeError(f"module 'netspec.pycaffe' has no attribute '{name}'")
