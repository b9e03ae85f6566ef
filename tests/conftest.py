"""Fixtures for all tests: seeded, on one thread, without the network."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "solver")]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """How much a verb that ran in this process was to say, and where to, does not outlast its test."""
    yield
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "netspec" and isinstance(logger, logging.Logger):
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
