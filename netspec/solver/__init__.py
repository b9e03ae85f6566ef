"""Training: the loop, Caffe's update rules and rate policies, snapshots. torch is imported with Solver, not before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netspec.solver.solver import Solver

__all__ = ["Solver"]


def __getattr__(name: str) -> Any:
    if name != "Solver":
        raise AttributeError(f"module 'netspec.solver' has no attribute '{name}'")
    return import_module("netspec.solver.solver").Solver
