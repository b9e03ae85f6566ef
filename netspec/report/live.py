"""report.html of a run that goes on: written anew when something was logged, at most every half minute, and at the end.

All that the page shows is read from log.jsonl, so a resumed run shows its whole history, and a run killed at any moment
leaves the page as it was written last.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from netspec.draw.net import draw_net
from netspec.draw.scene import scene
from netspec.draw.svg import svg
from netspec.errors import SpecError
from netspec.passes.summary import summary
from netspec.report.page import Run, page
from netspec.report.recipe import published_of, settings
from netspec.report.samples import Sample, samples
from netspec.solver.log import logger
from netspec.solver.solver import Solver
from netspec.spec.binary import replacing

SECONDS = 30.0


class Report:
    """Writes `folder`/report.html for a solver that logs into the same folder."""

    def __init__(self, solver: Solver, folder: Path, iterations: int | None = None, seconds: float = SECONDS) -> None:
        self.solver, self.folder, self.seconds = solver, folder, seconds
        self.last = solver.param.max_iter if iterations is None else solver.iter + iterations
        self.samples: list[Sample] = []
        self.sampled_at = -1
        self.written = 0.0
        self.size = -1
        self.failed = False
        self.published = published_of(solver.document)
        self.net = picture(solver)

    @property
    def path(self) -> Path:
        return self.folder / "report.html"

    def watch(self) -> Report:
        """Writes the first page, and from now on after iterations that logged something."""
        self.write("running")
        self.solver.callbacks.append(self.after)
        return self

    def after(self, solver: Solver) -> None:
        """After an iteration."""
        if time.monotonic() - self.written < self.seconds:
            return
        size = log_size(self.folder)
        snapshot = bool(solver.param.snapshot) and solver.iter % solver.param.snapshot == 0
        if size != self.size or snapshot:
            self.size = size
            self.write("running")

    def finish(self) -> None:
        """The last page."""
        self.write("finished" if self.solver.iter >= self.last and not self.solver.interrupted else "interrupted")

    def write(self, state: str) -> None:
        """Writes the page; where that fails, the run is told once and goes on."""
        try:
            self.look()
            text = page(self.run(state))
            with replacing(self.path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            self.failed = False
        except (SpecError, OSError, RuntimeError) as e:
            if not self.failed:
                logger.error("cannot write %s: %s; training goes on without it", self.path, e)
            self.failed = True
        self.written = time.monotonic()

    def look(self) -> None:
        """Looks at validation images anew after a test."""
        tested = {n: t["iteration"] for n, t in self.solver.tests.items() if "mean_iu" in t}
        if not tested or max(tested.values()) == self.sampled_at:
            return
        number = max(tested, key=lambda n: tested[n])
        self.samples = samples(self.solver.test_nets[number], self.solver.precision)
        self.sampled_at = tested[number]

    def run(self, state: str) -> Run:
        """What is known now."""
        solver, records = self.solver, read_log(self.folder)
        file = Path(solver.document.file)
        return Run(
            title=f"{file.stem}: {solver.net.graph.name}" if solver.net.graph.name else file.stem,
            state=state,
            written=time.strftime("%Y-%m-%d %H:%M:%S"),
            iteration=solver.iter,
            last_iteration=self.last,
            records=records,
            settings=settings(solver.document, self.published),
            published=file.name if self.published else "",
            samples=self.samples,
            sampled_at=self.sampled_at,
            net=self.net,
            notes=speed(records, self.last) if state == "running" else {},
        )


def log_size(folder: Path) -> int:
    """Bytes in log.jsonl."""
    try:
        return (folder / "log.jsonl").stat().st_size
    except OSError:
        return 0


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The objects of log.jsonl; a line that a stop cut short is left out.

    A resumed run logs iterations again that the run before it had gone beyond its snapshot: the later ones count.
    """
    try:
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("iteration"), int):
            if records and records[-1]["iteration"] > record["iteration"]:
                records = [r for r in records if r["iteration"] < record["iteration"]]
            records.append(record)
    return records


def speed(records: list[dict[str, Any]], last: int) -> dict[str, str]:
    """Iterations a second and the time left, from the last two displayed iterations."""
    shown = [r for r in records if "lr" in r and "seconds" in r][-2:]
    if len(shown) < 2 or shown[1]["seconds"] <= shown[0]["seconds"]:
        return {}
    rate = (shown[1]["iteration"] - shown[0]["iteration"]) / (shown[1]["seconds"] - shown[0]["seconds"])
    left = (last - shown[1]["iteration"]) / rate if rate else 0.0
    out = {"iterations a second": f"{rate:.3g}"}
    if left > 0:
        hours, rest = divmod(round(left / 60), 60)
        out["left"] = f"{hours} h {rest} min" if hours else f"{rest} min"
    return out


def picture(solver: Solver) -> str:
    """The training net as SVG, repeated blocks closed; nothing where it cannot be drawn."""
    graph, shapes = solver.net.graph, solver.net.blob_shapes
    given = {top.name: shapes[top] for spec in graph.layers if not spec.bottoms for top in spec.tops}
    try:
        numbers = summary(graph, given)
    except SpecError:
        numbers = None
    return svg(scene(draw_net(graph, numbers), closed=True))
