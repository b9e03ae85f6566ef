"""Progress of a training run: Caffe's log lines, and on a terminal a bar with rate and time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from netspec.solver.log import GlogFormatter

if TYPE_CHECKING:
    from netspec.solver.solver import Solver


class ConsoleHandler(logging.Handler):
    """Log lines printed above a progress bar, unwrapped."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def caffe_log(console: Console) -> Iterator[None]:
    """The "netspec" loggers write Caffe's log lines to the console."""
    logger = logging.getLogger("netspec")
    handler = ConsoleHandler(console) if console.is_terminal else logging.StreamHandler()
    handler.setFormatter(GlogFormatter())
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


@contextmanager
def bar(console: Console, solver: Solver, iterations: int | None, shown: bool = True) -> Iterator[None]:
    """On a terminal, a bar of iterations done, with the rate and the time left."""
    if not (shown and console.is_terminal):
        yield
        return
    end = solver.param.max_iter if iterations is None else solver.iter + iterations
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(TextColumn("iteration"), *columns, console=console, transient=True) as progress:
        first, start = solver.iter, time.monotonic()
        task = progress.add_task("", total=end, completed=first, rate="")

        def show(solver: Solver) -> None:
            rate = (solver.iter - first) / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=solver.iter, rate=f"{rate:.2f}/s")

        solver.callbacks.append(show)
        yield
