"""Logs of training runs -> rows of numbers: log.jsonl, and log lines as Caffe writes them, of any age.

A line of a glog starts with a letter, the date as MMDD or YYYYMMDD, time, process and source line; what else a log
holds (printed nets, shell output) is passed over, and so is a line cut short by a stop. Where a run was resumed into
the same file, the rows from there on replace the older ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netspec.errors import Loc, SpecError

GLOG = re.compile(r"[IWEF](?:\d{4}){1,2} \d\d:\d\d:\d\d(?:\.\d+)? +\d+ [^\]]+\] (.*)")
NUMBER = r"([-+]?(?:nan|inf|[\d.]+(?:e[-+]?\d+)?))"
LOSS = re.compile(rf"Iteration (\d+)(?: \(.*\))?, loss = {NUMBER}", re.I)
RATE = re.compile(rf"Iteration (\d+), lr = {NUMBER}", re.I)
TEST = re.compile(r"Iteration (\d+), Testing net \(#(\d+)\)")
TEST_LOSS = re.compile(rf"Test loss: {NUMBER}", re.I)
OUTPUT = re.compile(rf"\s+(Train|Test) net output #\d+: (\S+) = {NUMBER}(?: \(\* {NUMBER} = {NUMBER} loss\))?", re.I)
SCORES = re.compile(r"\s+Test net \(#\d+\) (\S+): (\w+ = .*)")
SCORE = re.compile(rf"(\w+) = {NUMBER}", re.I)
SCORE_NAMES = ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")


@dataclass
class Row:
    """What was told of one iteration of training, or of one test.

    `loss` is what is displayed, the mean over average_loss iterations. `outputs` has the values of each output blob,
    `weights` what each loss among them counts. `scores` are segmentation scores, of the first loss layer.
    """

    iteration: int
    loss: float | None = None
    lr: float | None = None
    outputs: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    raw_loss: float | None = None
    """The loss of the iteration alone, where it is told."""

    @property
    def own_loss(self) -> float | None:
        """The loss of the iteration or test alone: as told, else the weighted sum of the outputs."""
        if self.raw_loss is not None or not self.weights:
            return self.raw_loss
        return sum(weight * sum(self.outputs[name]) for name, weight in self.weights.items())


@dataclass
class Log:
    """One run: `train` and, by number of the test net, `tests` in the order of iterations.

    `final` is the pass after the last iteration that Caffe shows at the end.
    """

    path: Path
    train: list[Row] = field(default_factory=list)
    tests: dict[int, list[Row]] = field(default_factory=dict)

    @property
    def final(self) -> Row | None:
        last = self.train[-1] if self.train else None
        return last if last and last.lr is None and not last.outputs and last.raw_loss is None else None


def read(path: str | Path) -> Log:
    """A log file, or the log.jsonl of a folder. SpecError where no line of it tells of an iteration."""
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            log = parse(file, path)
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", Loc(str(path))) from None
    if not (log.train or log.tests):
        raise SpecError("no iteration is told of: neither a log.jsonl nor a log of training by Caffe", Loc(str(path)))
    return log


def parse(lines: Iterable[str], path: Path = Path("log")) -> Log:
    """The rows of a log's lines."""
    reader = Reader(Log(path))
    for line in lines:
        if line.startswith("{"):
            reader.record(line)
        elif m := GLOG.match(line):
            reader.line(m[1].rstrip())
    return reader.log


class Reader:
    """Lines in turn -> rows; `here` is the row that following lines tell more of."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.here = Row(0)

    def line(self, text: str) -> None:
        """One line of a glog, without what glog puts before it."""
        for pattern, take in HANDLERS:
            if m := pattern.fullmatch(text):
                take(self, m)
                return

    def _loss(self, m: re.Match[str]) -> None:
        self.here = Row(int(m[1]), loss=float(m[2]))
        put(self.log.train, self.here)

    def _rate(self, m: re.Match[str]) -> None:
        if self.log.train and self.log.train[-1].iteration == int(m[1]):
            self.log.train[-1].lr = float(m[2])

    def _test(self, m: re.Match[str]) -> None:
        self.here = Row(int(m[1]))
        put(self.log.tests.setdefault(int(m[2]), []), self.here)

    def _test_loss(self, m: re.Match[str]) -> None:
        self.here.loss = float(m[1])

    def _output(self, m: re.Match[str]) -> None:
        self.here.outputs.setdefault(m[2], []).append(float(m[3]))
        if m[4] is not None:
            self.here.weights[m[2]] = float(m[4])

    def _scores(self, m: re.Match[str]) -> None:
        if not self.here.scores:
            self.here.scores = {name: float(value) for name, value in SCORE.findall(m[2]) if name in SCORE_NAMES}

    def record(self, line: str) -> None:
        """One object of log.jsonl."""
        try:
            record = json.loads(line)
            row = from_record(record)
            number = int(record["test_net"]) if "test_net" in record else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        put(self.log.train if number is None else self.log.tests.setdefault(number, []), row)


HANDLERS: tuple[tuple[re.Pattern[str], Callable[[Reader, re.Match[str]], None]], ...] = (
    (LOSS, Reader._loss),
    (RATE, Reader._rate),
    (TEST, Reader._test),
    (TEST_LOSS, Reader._test_loss),
    (OUTPUT, Reader._output),
    (SCORES, Reader._scores),
)


def from_record(record: Mapping[str, Any]) -> Row:
    """A row from an object of log.jsonl."""
    own = number(record["loss"])
    return Row(
        int(record["iteration"]),
        loss=number(record["smoothed_loss"]) if "smoothed_loss" in record else own,
        lr=number(record["lr"]) if "lr" in record else None,
        outputs={
            k: [number(x) for x in (v if isinstance(v, list) else [v])] for k, v in record.get("outputs", {}).items()
        },
        weights={k: number(v) for k, v in record.get("weights", {}).items()},
        scores={k: number(record[k]) for k in SCORE_NAMES if k in record},
        raw_loss=own,
    )


def number(value: Any) -> float:
    """A number of JSON; null stands for nan and infinities."""
    return math.nan if value is None else float(value)


def put(rows: list[Row], row: Row) -> None:
    """Appends a row; one of an iteration that has been told of replaces the rows from there on."""
    while rows and rows[-1].iteration >= row.iteration:
        rows.pop()
    rows.append(row)
