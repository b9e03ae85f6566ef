"""Reading FCN-8s with its 540 MB of weights: netspec.load beside torch.load of the same into the hand-written module.

Every measurement is the first of a new process whose imports are done; the files are in the system's cache. Peak memory
is that of the process, and beside it what the process took before it read anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_fcn8s
from bench_turns import Job, Worker, ratio

Run = Callable[[], Any]
SHAPE = (1, 3, 500, 500)


def netspec_load(job: Job) -> Run:
    import netspec

    netspec.load(bench_fcn8s.ROOT / "prototxt/lenet/deploy.prototxt")
    file = Path(job.folder) / "fcn8s.caffemodel"
    return lambda: netspec.load(bench_fcn8s.DEPLOY, file)


def torch_load(job: Job) -> Run:
    """As most would write it."""
    import torch

    return lambda: bench_fcn8s.module().load_state_dict(torch.load(Path(job.folder) / "fcn8s.pt"))


def torch_load_assign(job: Job) -> Run:
    """The least that PyTorch needs: no first values, no copy."""
    import torch  # noqa: F401

    return lambda: bench_fcn8s.load_module(job.folder)


def nothing(job: Job) -> Run:
    """What the imports take."""
    import torch  # noqa: F401

    return lambda: None


CONTENDERS: dict[str, Callable[[Job], Run]] = {
    "imports alone": nothing,
    "torch.load": torch_load,
    "torch.load, assign": torch_load_assign,
    "netspec.load": netspec_load,
}


def main(folder: str, runs: int, threads: int) -> list[dict[str, Any]]:
    """Prints a line for each way of loading; the rows as --json writes them."""
    print(f"reading FCN-8s' 134 million weights, {threads} threads, medians of {runs} interleaved runs", flush=True)
    workers = rounds(folder, runs, threads)
    first = workers["torch.load"]
    print(f"  {'':24}{'seconds':>9}{'peak MiB':>10}   of torch.load: time{'memory':>8}")
    for name, w in workers.items():
        print(f"  {name:24}{w.median:9.3f}{w.peak:10.0f}{ratio(w, first):21.2f}{w.peak / first.peak:8.2f}")
    print(flush=True)
    return [{"part": "load", **w.row()} for w in workers.values()]


def rounds(folder: str, runs: int, threads: int) -> dict[str, Worker]:
    """A new process for every measurement; the first of each contender gathers them."""
    found: dict[str, Worker] = {}
    for _ in range(runs):
        for name, call in CONTENDERS.items():
            job = Job(
                "load", name, f"bench_load:{call.__name__}", "fp32", SHAPE, folder, threads, check=False, warm=False
            )
            worker = Worker(job)
            worker.measure()
            worker.close()
            first = found.setdefault(name, worker)
            if first is not worker:
                first.seconds += worker.seconds
                first.peak = max(first.peak, worker.peak)
    return found
