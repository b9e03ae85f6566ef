"""FCN-8s beside every peer: forward and training step, time and memory, and the ratios that are the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import bench_fcn8s
from bench_contenders import CONTENDERS
from bench_turns import Job, Worker, compare, ratio

SIZES = ("500x500", "375x500", "256x256")
TASKS = ("forward", "train")
ENGINES = ("onnxruntime", "openvino", "opencv")
"""Those that read files which are made for a size."""
Found = dict[tuple[str, str, str], Worker]
"""By task, precision and contender."""


@dataclass(frozen=True)
class Goal:
    """netspec over `rivals`, contenders of `rival_precision`; of several the one that is best here."""

    task: str
    precision: str
    rivals: tuple[str, ...]
    rival_precision: str
    what: str
    at_most: float | None


PEERS = tuple(name for name in CONTENDERS["forward", "fp32"] if name != "netspec")
GOALS = (
    Goal("forward", "fp32", PEERS, "fp32", "time", 0.80),
    Goal("forward", "bf16", ("openvino",), "bf16", "time", 0.85),
    Goal("forward", "bf16", PEERS, "bf16", "time", None),
    Goal("forward", "fp32", ("eager",), "fp32", "memory", 0.80),
    Goal("forward", "bf16", ("eager",), "fp32", "memory", 0.80),
    Goal("train", "fp32", ("eager",), "fp32", "time", 0.75),
    Goal("train", "bf16", ("eager",), "fp32", "time", 0.30),
    Goal("train", "fp32", ("eager",), "fp32", "memory", 0.75),
    Goal("train", "bf16", ("eager",), "fp32", "memory", 0.75),
)
MEASURES: dict[str, Callable[[Worker], float]] = {"time": lambda w: w.median, "memory": lambda w: w.peak}


def main(
    folder: str, sizes: Sequence[str], runs: int, threads: int, tasks: Sequence[str], contenders: Sequence[str]
) -> list[dict[str, Any]]:
    """Prints a table for each size; the rows and goals as --json writes them."""
    out = []
    for size in sizes:
        height, width = (int(n) for n in size.split("x"))
        shape = (1, 3, height, width)
        bench_fcn8s.make(folder, "net" if set(contenders) & set(ENGINES) else "images", shape)
        print(f"FCN-8s, one image of {size}, {threads} threads, medians of {runs} interleaved runs", flush=True)
        found: Found = {}
        for task in tasks:
            workers = compare(jobs(task, shape, folder, threads, contenders), runs)
            found |= {(w.job.task, w.job.precision, w.job.contender): w for w in workers}
            if workers:
                print_rows(workers)
            out += [{"part": "nets", **w.row()} for w in workers]
        out += [{"part": "goals", "size": size, **row} for row in print_goals(found)]
        print(flush=True)
    return out


def jobs(
    task: str, shape: tuple[int, int, int, int], folder: str, threads: int, contenders: Sequence[str]
) -> list[Job]:
    """One for each contender of either precision, the hand-written module first."""
    return [
        Job(task, name, f"{call.__module__}:{call.__name__}", precision, shape, folder, threads)
        for precision in ("fp32", "bf16")
        for name, call in CONTENDERS[task, precision].items()
        if name in contenders
    ]


def print_rows(workers: Sequence[Worker]) -> None:
    """A line for each contender, with its ratios to the first one."""
    first = workers[0]
    print(f"  {'':30}{'seconds':>9}{'peak MiB':>10}   of {first.job.contender}: time{'memory':>8}")
    for w in workers:
        of_first = f"{ratio(w, first):{len(first.job.contender) + 11}.2f}{w.peak / first.peak:8.2f}"
        print(f"  {w.job.name:30}{w.median:9.3f}{w.peak:10.0f}{of_first}", flush=True)


def print_goals(found: Found) -> list[dict[str, Any]]:
    """A line for each goal whose contenders were timed."""
    rows = []
    for goal in GOALS:
        mine = found.get((goal.task, goal.precision, "netspec"))
        rivals = [w for name in goal.rivals if (w := found.get((goal.task, goal.rival_precision, name)))]
        if mine and rivals:
            rows.append(print_goal(goal, mine, min(rivals, key=MEASURES[goal.what])))
    return rows


def print_goal(goal: Goal, mine: Worker, rival: Worker) -> dict[str, Any]:
    value = ratio(mine, rival) if goal.what == "time" else mine.peak / rival.peak
    rival_name = f"{rival.job.contender} {goal.rival_precision}"
    best = ", the best peer" if len(goal.rivals) > 1 else ""
    label = f"{goal.task} {goal.precision} {goal.what}: netspec / {rival_name}{best}"
    wanted = f"goal {goal.at_most:.2f}, {'met' if value <= goal.at_most else 'missed'}" if goal.at_most else ""
    print(f"  {label:68}{value:6.2f}  {wanted}".rstrip(), flush=True)
    return {
        "task": goal.task,
        "precision": goal.precision,
        "what": goal.what,
        "rival": rival_name,
        "ratio": value,
        "goal": goal.at_most,
    }
