"""What else the package has: logging, a timer, the numbers of parallel training."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import torch

from netspec.errors import SpecError
from netspec.layers import catalogue
from netspec.pycaffe import mode
from netspec.solver.log import log_as_glog_asks

logger = logging.getLogger("netspec.pycaffe")
_solvers = {"count": 1, "rank": 0}


def init_log(level: int = 0, *more: Any) -> None:
    """Sends log lines to standard error as Caffe writes them. Level 0 shows all, 1 warnings, 2 errors, 3 the fatal."""
    log_as_glog_asks({**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": str(level)})


def log(text: str) -> None:
    """One line for the log."""
    logger.info(text)


def layer_type_list() -> list[str]:
    """Every layer type there is."""
    return list(catalogue())


def has_nccl() -> bool:
    """False: data-parallel training is torchrun's matter."""
    return False


def solver_count() -> int:
    return _solvers["count"]


def set_solver_count(count: int) -> None:
    """Kept for scripts that ask for it again; it splits no data."""
    _solvers["count"] = count


def solver_rank() -> int:
    return _solvers["rank"]


def set_solver_rank(rank: int) -> None:
    """Kept for scripts that ask for it again."""
    _solvers["rank"] = rank


def set_multiprocess(on: bool) -> None:
    """Nothing to set: a script is one process."""


class NCCL:
    """Refused: several GPUs are used by `torchrun ... netspec solve`."""

    WAY_OUT = (
        "caffe.NCCL is not there; to train on several GPUs run `torchrun --nproc-per-node N -m netspec solve SOLVER`"
    )

    def __init__(self, *arguments: Any) -> None:
        raise SpecError(self.WAY_OUT)

    @classmethod
    def new_uid(cls) -> str:
        raise SpecError(cls.WAY_OUT)


class Timer:
    """A stop watch: `start()`, `stop()`, then `ms`; it waits for the GPU where nets run on one."""

    def __init__(self) -> None:
        self._begin = self._end = 0.0

    @staticmethod
    def _now() -> float:
        if mode.device().type == "cuda":
            torch.cuda.synchronize(mode.device())
        return time.perf_counter()

    def start(self) -> None:
        self._begin = self._end = self._now()

    def stop(self) -> None:
        self._end = self._now()

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop."""
        return (self._end - self._begin) * 1000
