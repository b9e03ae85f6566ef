"""The numbers of log.jsonl as TensorBoard's event files, where the package tensorboard is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netspec.errors import SpecError
from netspec.solver.log import logger

SKIPPED = ("iteration", "test_net", "seconds")


class TensorBoard:
    """Writes each record of a run under `train/` or `test_net_0/`.

    A run that resumes at `start` hides what an earlier one wrote from there on.
    """

    def __init__(self, folder: str | Path, start: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SpecError("event files need the package tensorboard: pip install tensorboard") from None
        try:
            self.writer = SummaryWriter(str(folder), purge_step=start or None)
        except OSError as e:
            raise SpecError(f"cannot write event files to folder '{folder}': {e.strerror or e}") from None
        self.failed = False

    def write(self, record: Mapping[str, Any]) -> None:
        """One record; where that fails, the run is told once and goes on without."""
        if self.failed:
            return
        try:
            self._write(record)
        except OSError as e:
            self.failed = True
            logger.error("cannot write event files: %s; training goes on without them", e.strerror or e)

    def _write(self, record: Mapping[str, Any]) -> None:
        group = f"test_net_{record['test_net']}" if "test_net" in record else "train"
        values = {k: v for k, v in record.items() if k not in SKIPPED}
        for name, value in numbers(values):
            self.writer.add_scalar(f"{group}/{name}", value, record["iteration"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a record with the path of names that leads to each."""
    if isinstance(value, (int, float)):
        yield name, float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}/{key}" if name else key)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from numbers(inner, f"{name}/{index}")
