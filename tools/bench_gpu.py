"""Times FCN-8s and FCN-32s on a GPU, forward and training step, beside hand-written PyTorch, eager and compiled.

    python tools/bench.py gpu                 # one image of 500 x 500
    python tools/bench.py gpu --quick         # FCN-8s, without torch.compile

All contenders of a row group run in one process, in turns, each turn ten passes between two synchronisations; the
medians count. TF32 is allowed for all in fp32. TFLOP/s counts the multiply-accumulates of the whole net as written, so
that what a pass leaves out counts as speed; the peak is that of a large bfloat16 (fp32: TF32) matrix product, measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_fcn8s
import torch
from bench_contenders import DECAY, MOMENTUM, RATE, make_solver
from bench_turns import Job
from torch import nn

import netspec

ROOT = Path(__file__).resolve().parent.parent
PASSES = 10
Run = Callable[[], Any]


def theirs(name: str) -> Any:
    """The hand-written net on the GPU, channels innermost, with the same random weights each time."""
    net = bench_fcn8s.module(skips=name.endswith("8s"))
    bench_fcn8s.randomize(net)
    return net.cuda().to(memory_format=torch.channels_last)


def theirs_forward(name: str, precision: str, compiled: bool, data: Any) -> Run:
    net = theirs(name).eval()
    if precision == "bf16":
        net, data = net.bfloat16(), data.bfloat16()
    data = data.to(memory_format=torch.channels_last)
    call = torch.compile(net, mode="reduce-overhead") if compiled else net

    def run() -> Any:
        with torch.inference_mode():
            return call(data)

    return run


def ours_forward(name: str, precision: str, data: Any) -> Run:
    net = netspec.load(ROOT / f"prototxt/{name}/deploy.prototxt", shapes={"data": tuple(data.shape)})
    bench_fcn8s.copy(theirs(name), net)
    netspec.freeze(net.cuda(), precision)

    def run() -> Any:
        with torch.inference_mode():
            return net(data=data)["score"]

    return run


def theirs_step(name: str, precision: str, compiled: bool, data: Any, label: Any) -> Run:
    net = theirs(name).train()
    data, target = data.to(memory_format=torch.channels_last), label[:, 0].long()
    learned = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim == 4], "lr": RATE, "weight_decay": DECAY},
        {"params": [p for p in learned if p.ndim == 1], "lr": 2 * RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, fused=True)
    call = torch.compile(net) if compiled else net

    def run() -> Any:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            score = call(data)
        loss = nn.functional.cross_entropy(score.float(), target, ignore_index=255, reduction="sum")
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def ours_step(name: str, precision: str, data: Any, label: Any) -> Run:
    job = Job("train", "netspec", "", precision, tuple(data.shape), "", 0)
    solver = make_solver(job, ROOT / f"prototxt/{name}/train.prototxt", {"data": data, "label": label}, device="cuda")
    bench_fcn8s.copy(theirs(name), solver.net)
    return lambda: solver.step(1)


def macs(name: str, size: tuple[int, int]) -> int:
    """Of one forward pass as written."""
    net = netspec.load(ROOT / f"prototxt/{name}/deploy.prototxt", shapes={"data": (1, 3, *size)})
    shapes = net.blob_shapes
    return sum(
        layer.macs([shapes[b] for b in spec.bottoms], [shapes[t] for t in spec.tops]) for spec, layer in net.bound
    )


def peak(precision: str) -> float:
    """TFLOP/s of a product of two 8192 x 8192 matrices."""
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    if precision == "bf16":
        a, b = a.bfloat16(), b.bfloat16()
    seconds = statistics.median(timed(lambda: a @ b) for _ in range(5))
    return 2 * 8192**3 / seconds / 1e12


def timed(run: Run) -> float:
    """Seconds of one pass, from ten in a row."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(PASSES):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / PASSES


def contenders(task: str, name: str, precision: str, quick: bool, size: tuple[int, int]) -> dict[str, Run]:
    torch.manual_seed(0)
    data = torch.randn(1, 3, *size, device="cuda") * 60
    label = torch.randint(0, 21, (1, 1, *size), device="cuda").float()
    if task == "forward":
        made = {"netspec": ours_forward(name, precision, data)}
        made["eager"] = theirs_forward(name, precision, False, data)
        if not quick:
            made["torch.compile"] = theirs_forward(name, precision, True, data)
        return made
    made = {"netspec": ours_step(name, precision, data, label)}
    made["eager"] = theirs_step(name, precision, False, data, label)
    if not quick:
        made["torch.compile"] = theirs_step(name, precision, True, data, label)
    return made


def group(task: str, name: str, precision: str, runs: int, quick: bool, size: tuple[int, int]) -> None:
    """Prints one row for each contender."""
    made = contenders(task, name, precision, quick, size)
    for run in made.values():
        for _ in range(5):
            run()
    if task == "forward":
        agree({who: run().float() for who, run in made.items()}, 1e-2 if precision == "fp32" else 6e-2)
    seconds = {who: [] for who in made}
    for _ in range(runs):
        for who, run in made.items():
            seconds[who].append(timed(run))
    medians = {who: statistics.median(s) for who, s in seconds.items()}
    best = min(s for who, s in medians.items() if who != "netspec")
    work = 2 * macs(name, size) * (1 if task == "forward" else 3)
    limit = peak(precision)
    for who, s in medians.items():
        rate = work / s / 1e12
        print(
            f"{name:10} {task:8} {precision:5} {who:14} {1000 * s:8.3f} ms {rate:7.0f} TFLOP/s "
            f"{rate / limit:5.2f} of peak {best / s:6.2f} x best peer",
            flush=True,
        )


def agree(scores: dict[str, Any], tolerance: float) -> None:
    """Refuses to time nets that do not give the same scores."""
    theirs = scores["eager"]
    for who, mine in scores.items():
        error = ((mine - theirs).norm() / theirs.norm()).item()
        if not error < tolerance:
            raise SystemExit(f"{who} differs from eager by {error:.2g}")


def main(runs: int, quick: bool, size: tuple[int, int]) -> None:
    if not torch.cuda.is_available():
        raise SystemExit("this machine has no GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    print(torch.cuda.get_device_name(), "torch", torch.__version__, f"one image of {size[0]} x {size[1]}")
    for name in ("voc-fcn8s",) if quick else ("voc-fcn8s", "voc-fcn32s"):
        for task in ("forward", "step"):
            for precision in ("bf16", "fp32"):
                group(task, name, precision, runs, quick, size)
                torch._dynamo.reset()
                torch.cuda.empty_cache()
