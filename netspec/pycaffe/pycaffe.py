"""caffe.pycaffe: where Caffe's wrapper keeps Net and the solvers."""

from __future__ import annotations

from netspec.pycaffe.layer import Layer
from netspec.pycaffe.misc import NCCL, Timer
from netspec.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from netspec.pycaffe.net import Net
from netspec.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "get_solver",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
