"""How time and memory of FCN-8s' forward pass grow with the image and with the batch, as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench_fcn8s
from bench_contenders import FORWARD
from bench_turns import Job, Worker, compare

Shape = tuple[int, int, int, int]
SIDES = (128, 256, 500, 1000, 1500, 2000)
BATCHES = (1, 2, 4, 8)
QUICK_SIDES, QUICK_BATCHES = (128, 256), (1, 2)
CONTENDERS = ("eager", "netspec")
LABELS = {"eager": "hand-written PyTorch, eager", "netspec": "netspec"}
COLOURS = {"eager": "#8a8a8a", "netspec": "#0b6fb8"}
PAD = 198
"""Rows and columns that the first pad adds."""
Point = dict[str, Worker]


def main(folder: str, runs: int, threads: int, quick: bool, plot: Path) -> list[dict[str, Any]]:
    """Prints a line for each size and batch, draws the plot; the rows as --json writes them."""
    sides, batches = (QUICK_SIDES, QUICK_BATCHES) if quick else (SIDES, BATCHES)
    side = 128 if quick else 500
    shapes = dict.fromkeys([(1, 3, n, n) for n in sides] + [(n, 3, side, side) for n in batches])
    print(f"FCN-8s forward, {threads} threads, medians of {runs} interleaved runs", flush=True)
    print(f"  {'images':16}" + "".join(f"{name + ' s':>12}{'peak MiB':>10}" for name in CONTENDERS))
    points: dict[Shape, Point] = {}
    for shape in shapes:
        if fits(shape, points):
            points[shape] = measure(shape, folder, runs, threads)
            print_point(shape, points[shape])
    draw(points, [(1, 3, n, n) for n in sides], [(n, 3, side, side) for n in batches], plot)
    return [{"part": "growth", **w.row()} for point in points.values() for w in point.values()]


def fits(shape: Shape, points: dict[Shape, Point]) -> bool:
    """Whether the memory that is free holds this shape, were all memory of the largest so far to grow with it."""
    if not points:
        return True
    last = max(points, key=cells)
    needed = max(w.peak for w in points[last].values()) * cells(shape) / cells(last)
    if needed <= available_mib():
        return True
    print(f"  {name(shape):16}left out: it may take {needed:.0f} MiB, and {available_mib():.0f} are free", flush=True)
    return False


def cells(shape: Shape) -> int:
    """The size of the first feature map."""
    return shape[0] * (shape[2] + PAD) * (shape[3] + PAD)


def available_mib() -> float:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 1024


def measure(shape: Shape, folder: str, runs: int, threads: int) -> Point:
    bench_fcn8s.make(folder, "images", shape)
    jobs = [
        Job("forward", name, f"bench_contenders:{FORWARD[name].__name__}", "fp32", shape, folder, threads, check=False)
        for name in CONTENDERS
    ]
    return {w.job.contender: w for w in compare(jobs, runs)}


def name(shape: Shape) -> str:
    return f"{shape[0]} of {shape[2]}x{shape[3]}"


def print_point(shape: Shape, point: Point) -> None:
    print(f"  {name(shape):16}" + "".join(f"{w.median:12.3f}{w.peak:10.0f}" for w in point.values()), flush=True)


def draw(points: dict[Shape, Point], by_side: Sequence[Shape], by_batch: Sequence[Shape], path: Path) -> None:
    """Time above, memory below; the image's side on the left, the batch on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.2), sharex="col", layout="constrained")
    for column, (shapes, axis, label) in enumerate(
        ((by_side, 2, "side of one image, pixels"), (by_batch, 0, f"images of {by_batch[0][2]} x {by_batch[0][3]}"))
    ):
        known = [shape for shape in shapes if shape in points]
        for contender in CONTENDERS:
            workers = [points[shape][contender] for shape in known]
            style = {"color": COLOURS[contender], "label": LABELS[contender], "marker": "o", "markersize": 4}
            xs = [shape[axis] for shape in known]
            axes[0, column].plot(xs, [w.median for w in workers], **style)
            axes[1, column].plot(xs, [w.peak / 1024 for w in workers], **style)
        axes[1, column].set_xlabel(label)
        axes[1, column].set_xticks([shape[axis] for shape in known])
        axes[1, column].tick_params(axis="x", labelsize=8)
    for row, label in enumerate(("seconds, forward", "GiB, peak of the process")):
        axes[row, 0].set_ylabel(label)
    for one in axes.flat:
        one.set_ylim(bottom=0)
        one.grid(color="#e4e4e4", linewidth=0.8)
        one.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=110)
    print(f"  drawn: {path}\n", flush=True)
