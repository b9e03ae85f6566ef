"""Contenders in processes of their own that take turns.

A process of its own gives each contender its own peak memory; turns, one measurement each, treat all alike on a machine
whose speed drifts. A worker builds what it times, answers `ready` or why it cannot take part, and then makes one run
for each line on its standard input.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}
"""How far results may be apart, relative to the largest value."""
PAUSE = 0.05
"""Seconds between turns, in which the threads of the last contender stop looking for work."""
EXTRA = "pip install 'netspec[bench]'"


class Unavailable(Exception):
    """Why a contender cannot take part here."""


@dataclass(frozen=True)
class Job:
    """What a worker does: `call`, as "module:function", takes the job and returns what is to be timed.

    `shape`: N, 3, height, width of the images. `folder`: where the files of bench_fcn8s are. `options`: what else the
    function understands. `check`: whether the result of the first run is kept for comparing.
    """

    task: str
    contender: str
    call: str
    precision: str
    shape: tuple[int, int, int, int]
    folder: str
    threads: int
    options: dict[str, Any] = field(default_factory=dict)
    check: bool = True
    warm: bool = True

    @property
    def name(self) -> str:
        return f"{self.task} {self.precision} {self.contender}"

    @property
    def result(self) -> Path:
        """The file of the first run's result."""
        return Path(self.folder) / f"{self.name.replace(' ', '-')}.npy"


class Worker:
    """A job in its own process, and what was measured: seconds of each run, peak memory in MiB."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: list[float] = []
        self.peak = 0.0
        self.apart: float | None = None
        threads = {name: str(job.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(job))],
            env={**os.environ, **threads, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.refusal = self._answer().get("unavailable")

    def measure(self) -> None:
        assert self.process.stdin
        time.sleep(PAUSE)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "unavailable" in answer:
            raise SystemExit(f"{self.job.name}: {answer['unavailable']}")
        self.seconds.append(answer["seconds"])
        self.peak = answer["peak"]

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"unavailable": f"its process ended with status {self.process.wait()}"}

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def row(self) -> dict[str, Any]:
        """What --json writes."""
        job = self.job
        return {
            "task": job.task,
            "precision": job.precision,
            "contender": job.contender,
            "shape": list(job.shape),
            "threads": job.threads,
            **job.options,
            "seconds": self.median,
            "runs": self.seconds,
            "peak_mib": self.peak,
            "largest_difference": self.apart,
        }


def ratio(one: Worker, other: Worker) -> float:
    """The median of the ratios of seconds within each round."""
    return statistics.median(a / b for a, b in zip(one.seconds, other.seconds, strict=True))


def compare(jobs: Sequence[Job], runs: int) -> list[Worker]:
    """The workers of all jobs that can run here and agree, after `runs` rounds."""
    workers = start(jobs)
    workers = agreeing(workers) if any(w.job.check for w in workers) else workers
    for _ in range(runs):
        for worker in workers:
            worker.measure()
    for worker in workers:
        worker.close()
    return workers


def start(jobs: Sequence[Job]) -> list[Worker]:
    """Workers that are ready; a line for each that cannot take part."""
    ready = []
    for job in jobs:
        worker = Worker(job)
        if worker.refusal is None:
            ready.append(worker)
        else:
            print(f"  left out: {job.name}: {worker.refusal}", flush=True)
            worker.close()
    return ready


def agreeing(workers: Sequence[Worker]) -> list[Worker]:
    """Those whose first result is that of the first worker; a line for each other one, and one for all."""
    import numpy as np

    kept: list[Worker] = []
    reference = np.load(workers[0].job.result)
    for worker in workers:
        result = np.load(worker.job.result)
        worker.job.result.unlink()
        same = result.shape == reference.shape
        worker.apart = float(abs(result - reference).max() / abs(reference).max()) if same else float("inf")
        allowed = max(TOLERANCE[w.job.precision] for w in (worker, workers[0]))
        if worker.apart <= allowed:
            kept.append(worker)
        else:
            print(f"  left out: {worker.job.name}: its result is {worker.apart:.1e} from that of {workers[0].job.name}")
            worker.close()
    say_agreement(kept)
    return kept


def say_agreement(workers: Sequence[Worker]) -> None:
    parts = []
    for precision in TOLERANCE:
        apart = [w.apart for w in workers if w.job.precision == precision and w.apart is not None]
        if apart:
            parts.append(f"{precision} within {max(apart):.0e} (allowed {TOLERANCE[precision]:.0e})")
    if len(workers) > 1:
        what = "losses" if workers[0].job.task == "train" else "score maps"
        print(f"  {what} agree, relative to the largest value: {', '.join(parts)}", flush=True)


def serve(job: Job) -> None:
    """The worker: builds, runs once for the result and once more to warm up, then once per line of standard input."""
    module, function = job.call.split(":")
    try:
        run: Callable[[], Any] = getattr(import_module(module), function)(job)
    except Unavailable as e:
        print(json.dumps({"unavailable": str(e)}), flush=True)
        return
    if job.check:
        keep(run(), job.result)
    if job.warm:
        run()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak": peak_mib()}), flush=True)


def keep(result: Any, path: Path) -> None:
    import numpy as np

    np.save(path, np.asarray(result.float() if hasattr(result, "float") else result))


def peak_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def package(name: str) -> Any:
    """A peer's module, or why there is none."""
    try:
        return import_module(name)
    except ImportError:
        raise Unavailable(f"{name.split('.')[0]} is not installed: {EXTRA}") from None


if __name__ == "__main__":
    import bench_turns  # the functions called know the classes of this name, not of __main__

    given = json.loads(sys.argv[1])
    bench_turns.serve(bench_turns.Job(**{**given, "shape": tuple(given["shape"])}))
