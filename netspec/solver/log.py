"""What a run tells: Caffe's own log lines through `logging`, and log.jsonl.

Lines go to the logger "netspec.solver". Each record carries in `where` the source line Caffe's has, which old log
parsers expect and `GlogFormatter` prints.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger("netspec.solver")
LETTERS = {logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}


def say(where: str, message: str) -> None:
    """One line of progress, as Caffe words it; `where` as in `solver.cpp:239`."""
    logger.info(message, extra={"where": where})


class GlogFormatter(logging.Formatter):
    """`I1121 01:02:03.456789  1234 solver.cpp:239] message`: letter of the level, date, time, process, place."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.localtime(record.created)
        micro = int(record.created % 1 * 1e6)
        letter = LETTERS.get(record.levelno, "I")
        where = getattr(record, "where", f"{record.filename}:{record.lineno}")
        stamp = f"{letter}{time.strftime('%m%d %H:%M:%S', moment)}.{micro:06d} {record.process or 0:5d}"
        return f"{stamp} {where}] {super().format(record)}"


def log_as_glog_asks(environment: Mapping[str, str] = os.environ) -> logging.Handler | None:
    """Sends the "netspec" loggers to standard error in Caffe's form where GLOG_logtostderr asks for it.

    GLOG_minloglevel 0 shows all, 1 warnings, 2 errors, 3 only what ends the program.
    """
    if environment.get("GLOG_logtostderr", "0").lower() not in ("1", "true", "yes"):
        return None
    least = environment.get("GLOG_minloglevel", "0")
    level = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)[
        min(int(least), 3) if least.isdigit() else 0
    ]
    root = logging.getLogger("netspec")
    for handler in root.handlers:
        if isinstance(handler.formatter, GlogFormatter):
            return handler
    handler = logging.StreamHandler()
    handler.setFormatter(GlogFormatter())
    root.addHandler(handler)
    root.setLevel(level)
    return handler


class JsonLog:
    """log.jsonl: one object a line, each written at once, so that a stop leaves whole lines or one cut one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"
        self.failed = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one object; where that fails, the run is told once and goes on."""
        try:
            line = json.dumps(plain(record), allow_nan=False) + "\n"
            with open(self.path, "a+b") as file:
                file.write(("\n" if self._cut(file) else "").encode() + line.encode())
            self.failed = False
        except OSError as e:
            if not self.failed:
                logger.error("cannot write %s: %s; training goes on without it", self.path, e.strerror or e)
            self.failed = True

    @staticmethod
    def _cut(file: Any) -> bool:
        """Whether the last line was cut short by a stop."""
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def plain(value: Any) -> Any:
    """The value as JSON has it: null for nan and infinities."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def output_lines(word: str, outputs: list[tuple[str, list[float], float]]) -> list[str]:
    """`    Train net output #0: loss = 1.2 (* 1 = 1.2 loss)`, a line per value of every output blob."""
    return [f"    {word} net output #{number}: {line}" for number, line in enumerate(value_lines(outputs))]


def value_lines(outputs: list[tuple[str, list[float], float]]) -> list[str]:
    """`loss = 1.2 (* 1 = 1.2 loss)`, a line per value of every output blob; the loss where it has a weight."""
    lines = []
    for name, values, weight in outputs:
        for value in values:
            worth = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
            lines.append(f"{name} = {value:g}{worth}")
    return lines
