"""What each pass gains: netspec as it is beside netspec with one pass switched off, forward and training step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_fcn8s
from bench_contenders import make_solver, netspec_forward, netspec_step
from bench_turns import Job, Worker, compare, ratio

ROOT = Path(__file__).resolve().parent.parent
PASSES = {
    "halo_elision": "FCN-8s",
    "interpolation": "FCN-8s",
    "winograd": "FCN-8s",
    "norm_folding": "ResNet-50",
    "scale_fusion": "ResNet-50",
}
"""Every pass that can be switched off by name, and a net that it is for."""
Run = Callable[[], Any]


def randomize(net: Any) -> None:
    """The same weights each time, under which nothing is zero, denormal or infinite."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            torch.nn.init.kaiming_normal_(p) if p.ndim > 1 else p.abs_().add_(0.1)


def resnet_forward(job: Job) -> Run:
    import torch

    import netspec

    context = netspec.Context(no_pass=frozenset(job.options["no_pass"]))
    net = netspec.load(ROOT / "prototxt/resnet50/deploy.prototxt", context=context, shapes={"data": job.shape})
    randomize(net)
    netspec.freeze(net)
    data = torch.randn(job.shape, generator=torch.Generator().manual_seed(0)) * 60

    def run() -> Any:
        with torch.inference_mode():
            return net(data=data, blobs=["fc1000"])["fc1000"]

    return run


def resnet_step(job: Job) -> Run:
    import torch

    torch.manual_seed(0)
    feed = {"data": torch.randn(job.shape) * 60, "label": torch.zeros(job.shape[0])}
    solver = make_solver(job, ROOT / "prototxt/resnet50/train_val.prototxt", feed)
    randomize(solver.net)

    def run() -> Any:
        solver.step(1)
        return solver.smoothed_loss

    return run


CALLS: dict[str, dict[str, Callable[[Job], Run]]] = {
    "FCN-8s": {"forward": netspec_forward, "train": netspec_step},
    "ResNet-50": {"forward": resnet_forward, "train": resnet_step},
}


def main(folder: str, size: str, runs: int, threads: int, only: str | None) -> list[dict[str, Any]]:
    """Prints a line for each pass and task; the rows as --json writes them."""
    height, width = (int(n) for n in size.split("x"))
    shapes = {"FCN-8s": (1, 3, height, width), "ResNet-50": (1, 3, 224, 224)}
    bench_fcn8s.make(folder, "images", shapes["FCN-8s"])
    print(f"passes, FCN-8s at {size}, ResNet-50 at 224x224, {threads} threads, medians of {runs} interleaved runs")
    out = []
    for net, calls in CALLS.items():
        names = [name for name, of in PASSES.items() if of == net and only in (None, name)]
        for task, call in calls.items() if names else ():
            workers = compare(jobs(task, call, names, shapes[net], folder, threads), runs)
            print_gains(net, workers)
            out += [{"part": "passes", "net": net, **w.row()} for w in workers]
    print(flush=True)
    return out


def jobs(
    task: str,
    call: Callable[[Job], Run],
    names: list[str],
    shape: tuple[int, int, int, int],
    folder: str,
    threads: int,
) -> list[Job]:
    """All passes on, then one off at a time."""
    where = f"{call.__module__}:{call.__name__}"
    variants = {"all passes": [], **{f"without {name}": [name] for name in names}}
    return [
        Job(task, label, where, "fp32", shape, folder, threads, {"no_pass": off}) for label, off in variants.items()
    ]


def print_gains(net: str, workers: list[Worker]) -> None:
    """The whole net, then what it takes without each pass."""
    full = workers[0]
    print(f"  {net + ' ' + full.job.task:42}{'seconds':>9}{'peak MiB':>10}{'time':>8}{'memory':>8}")
    for w in workers:
        gain = f"{ratio(w, full):8.2f}{w.peak / full.peak:8.2f}"
        print(f"    {w.job.contender:40}{w.median:9.3f}{w.peak:10.0f}{gain}", flush=True)
