"""Where nets run, and what they may read: set once for the process, as Caffe's mode is."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from netspec.layers.base import Context

logger = logging.getLogger("netspec.pycaffe")
_gpu: int | None = None
_chosen = 0
_context = Context(allow_python=True)


def set_mode_cpu() -> None:
    """Nets run on the CPU."""
    global _gpu
    _gpu = None


def set_mode_gpu() -> None:
    """Nets run on the GPU that `set_device` chose; on the CPU, with a warning, if there is none."""
    global _gpu
    if not torch.cuda.is_available():
        logger.warning("set_mode_gpu: no CUDA device is there, so nets run on the CPU")
        return
    _gpu = _chosen


def set_device(number: int) -> None:
    """Chooses the GPU that `set_mode_gpu` means."""
    global _gpu, _chosen
    if torch.cuda.is_available() and not 0 <= number < torch.cuda.device_count():
        raise ValueError(f"there is no GPU {number}: this machine has {torch.cuda.device_count()}")
    _chosen = int(number)
    if _gpu is not None:
        _gpu = _chosen


def device() -> torch.device:
    """Where nets run now."""
    return torch.device("cpu") if _gpu is None else torch.device("cuda", _gpu)


def set_random_seed(seed: int) -> None:
    """Seeds fillers, dropout and data order."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def set_data(data_root: Path | None = None, sample: bool = False) -> None:
    """Where relative data paths of nets start; `sample` puts the embedded sample in the place of published data."""
    global _context
    _context = replace(_context, data_root=data_root, sample=sample)


def context(folder: Path | None = None) -> Context:
    """What a new net may know: Python layers are allowed, since a script is running anyway."""
    return replace(_context, folder=folder)
