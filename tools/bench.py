"""Times netspec beside rivals, as ratios within one run.

Every contender lives in a process of its own, so that its peak memory is its own; the processes take turns, one
measurement each, so that a machine whose speed drifts treats all alike. The median counts.

    python tools/bench.py                     # FCN-8s, 500 x 500: forward and training step, time and memory
    python tools/bench.py --size 256x256 --runs 9
    python tools/bench.py layers              # GoogLeNet and ResNet-50, whole and by layer type (bench_layers.py)
    python tools/bench.py solver              # the update of 134 million parameters, every rule (bench_solver.py)
    python tools/bench.py convert             # weight files of VGG16's size, beside cp (bench_convert.py)
    python tools/bench.py --quick             # either part, small: minutes become seconds
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RATE, MOMENTUM, DECAY = 1e-10, 0.99, 5e-4
QUIET = {"test_net": "[]", "test_iter": "[]", "test_interval": 0, "display": 0, "snapshot": 0}


def handwritten_fcn8s() -> Any:
    """FCN-8s as a good engineer writes it in PyTorch, with the released net's layers, pads, crops and kernels."""
    import torch
    from torch import nn

    def stage(channels: int, width: int, convs: int, first_pad: int = 1) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i in range(convs):
            layers += [nn.Conv2d(channels if i == 0 else width, width, 3, padding=first_pad if i == 0 else 1)]
            layers += [nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.MaxPool2d(2, 2, ceil_mode=True))

    def up(kernel: int, stride: int) -> nn.ConvTranspose2d:
        layer = nn.ConvTranspose2d(21, 21, kernel, stride, bias=False)
        layer.weight.requires_grad_(False)
        f = (kernel + 1) // 2
        line = 1 - (torch.arange(kernel) - (f - 0.5)).abs() / f
        layer.weight.zero_()
        layer.weight[range(21), range(21)] = line[:, None] * line[None, :]
        return layer

    def crop(x: Any, offset: int, like: Any) -> Any:
        return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    class FCN8s(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_pool3 = nn.Sequential(stage(3, 64, 2, 100), stage(64, 128, 2), stage(128, 256, 3))
            self.to_pool4, self.to_pool5 = stage(256, 512, 3), stage(512, 512, 3)
            self.fc6 = nn.Sequential(nn.Conv2d(512, 4096, 7), nn.ReLU(inplace=True), nn.Dropout(0.5))
            self.fc7 = nn.Sequential(nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout(0.5))
            self.score_fr = nn.Conv2d(4096, 21, 1)
            self.score_pool4, self.score_pool3 = nn.Conv2d(512, 21, 1), nn.Conv2d(256, 21, 1)
            with torch.no_grad():
                self.upscore2, self.upscore_pool4, self.upscore8 = up(4, 2), up(4, 2), up(16, 8)

        def forward(self, data: Any) -> Any:
            pool3 = self.to_pool3(data)
            pool4 = self.to_pool4(pool3)
            x = self.upscore2(self.score_fr(self.fc7(self.fc6(self.to_pool5(pool4)))))
            x = self.upscore_pool4(x + crop(self.score_pool4(pool4), 5, x))
            x = self.upscore8(x + crop(self.score_pool3(pool3), 9, x))
            return crop(x, 31, data)

    return FCN8s()


def random_weights(module: Any) -> None:
    """He-scaled weights, so that nothing is zero, denormal or infinite."""
    import torch

    for _, p in module.named_parameters():
        if p.requires_grad and p.ndim == 4:
            torch.nn.init.kaiming_normal_(p)
        elif p.requires_grad:
            torch.nn.init.normal_(p, std=0.01)


def images(size: tuple[int, int]) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    return torch.randn(1, 3, *size) * 60, torch.randint(0, 21, (1, 1, *size)).float()


def pytorch_forward(size: tuple[int, int]) -> Callable[[], Any]:
    import torch

    net = handwritten_fcn8s().eval()
    random_weights(net)
    data, _ = images(size)

    def run() -> Any:
        with torch.inference_mode():
            return net(data)

    return run


def pytorch_step(size: tuple[int, int]) -> Callable[[], Any]:
    import torch

    net = handwritten_fcn8s().train()
    random_weights(net)
    data, label = images(size)
    learned = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim == 4], "lr": RATE, "weight_decay": DECAY},
        {"params": [p for p in learned if p.ndim == 1], "lr": 2 * RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)

    def run() -> Any:
        optimizer.zero_grad(set_to_none=False)
        score = net(data)
        loss = torch.nn.functional.cross_entropy(score, label[:, 0].long(), ignore_index=255, reduction="sum")
        loss.backward()
        optimizer.step()
        return loss

    return run


def netspec_forward(size: tuple[int, int]) -> Callable[[], Any]:
    import torch

    import netspec

    net = netspec.load(ROOT / "prototxt/voc-fcn8s/deploy.prototxt", phase="TEST", shapes={"data": (1, 3, *size)})
    random_weights(net)
    netspec.freeze(net)
    data, _ = images(size)

    def run() -> Any:
        with torch.inference_mode():
            return net(data=data)

    return run


def netspec_step(size: tuple[int, int]) -> Callable[[], Any]:
    from netspec.passes.data_to_input import data_to_input
    from netspec.solver import Solver

    data, label = images(size)
    shapes = {"data": tuple(data.shape), "label": tuple(label.shape)}
    solver = Solver(
        ROOT / "solvers/released/voc-fcn8s.prototxt",
        overrides={"base_lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY, **QUIET},
        rewrite=lambda graph: data_to_input(graph, shapes).graph,
        feed=lambda: {"data": data, "label": label},
    )
    random_weights(solver.net)
    return lambda: solver.step(1)


CONTENDERS: dict[str, dict[str, Callable[[tuple[int, int]], Callable[[], Any]]]] = {
    "forward": {"netspec": netspec_forward, "pytorch eager": pytorch_forward},
    "train step": {"netspec": netspec_step, "pytorch eager": pytorch_step},
}


def work(task: str, contender: str, size: tuple[int, int]) -> None:
    """The worker: one timed run per line on standard input; the answer is seconds and peak memory in MiB."""
    run = CONTENDERS[task][contender](size)
    run()
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, peak]), flush=True)


class Worker:
    """A contender in its own process."""

    def __init__(self, task: str, contender: str, size: str) -> None:
        command = [sys.executable, __file__, "--worker", task, contender, "--size", size]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []
        self.peak = 0.0

    def measure(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, self.peak = json.loads(self.process.stdout.readline())
        self.seconds.append(seconds)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def compare(task: str, size: str, runs: int) -> list[tuple[str, float, float, float, float]]:
    """Rows (contender, median seconds, peak MiB, and both as ratios to the first contender's rival)."""
    workers = {name: Worker(task, name, size) for name in CONTENDERS[task]}
    for _ in range(runs):
        for worker in workers.values():
            worker.measure()
    for worker in workers.values():
        worker.close()
    rival = workers["pytorch eager"]
    rows = []
    for name, worker in workers.items():
        ratio = statistics.median(a / b for a, b in zip(worker.seconds, rival.seconds, strict=True))
        rows.append((name, statistics.median(worker.seconds), worker.peak, ratio, worker.peak / rival.peak))
    return rows


def nets(size: str, runs: int, only: str | None) -> None:
    """Prints FCN-8s' time and memory beside its rivals'."""
    print(f"FCN-8s, one image of {size}, median of {runs} interleaved runs")
    print(f"{'':12}{'':16}{'seconds':>9}{'peak MiB':>10}{'time ratio':>12}{'memory ratio':>14}")
    for task in [only] if only else CONTENDERS:
        for name, seconds, peak, time_ratio, memory_ratio in compare(task, size, runs):
            print(f"{task:12}{name:16}{seconds:9.3f}{peak:10.0f}{time_ratio:12.2f}{memory_ratio:14.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("nets", "layers", "solver", "convert"), default="nets")
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--size", help="height x width of the image (500x500)")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--device", default="cpu", help="for solver")
    parser.add_argument("--only", help=f"one of {', '.join(CONTENDERS)}; for solver, one rule")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = arguments.size or ("128x128" if arguments.quick else "500x500")
    runs = arguments.runs or (2 if arguments.quick else 5)
    if arguments.worker:
        height, width = (int(n) for n in size.split("x"))
        work(*arguments.worker, (height, width))
    elif arguments.part == "solver":
        import bench_solver

        bench_solver.main(runs, arguments.quick, arguments.device, arguments.only)
    elif arguments.part == "convert":
        import bench_convert

        bench_convert.main(runs, arguments.quick)
    elif arguments.part == "layers":
        import bench_layers

        bench_layers.main(runs, arguments.quick)
    else:
        nets(size, runs, arguments.only)


if __name__ == "__main__":
    main()
