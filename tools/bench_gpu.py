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

import netspec  # isort: skip  (before torch makes its first tensor)
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
RATE, MOMENTUM, DECAY = 1e-10, 0.99, 5e-4
QUIET = {"test_net": "[]", "test_iter": "[]", "test_interval": 0, "display": 0, "snapshot": 0}
PASSES = 10
Run = Callable[[], Any]


def upsampling(kernel: int, stride: int) -> nn.ConvTranspose2d:
    """Frozen bilinear interpolation of 21 score maps."""
    layer = nn.ConvTranspose2d(21, 21, kernel, stride, bias=False)
    layer.weight.requires_grad_(False)
    factor = (kernel + 1) // 2
    line = 1 - (torch.arange(kernel) - (factor - 0.5)).abs() / factor
    layer.weight.zero_()
    layer.weight[range(21), range(21)] = line[:, None] * line[None, :]
    return layer


class HandWritten(nn.Module):
    """FCN-8s or FCN-32s as the released nets have it: layers, pads, crops, kernels."""

    def __init__(self, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.to_pool3 = nn.Sequential(*stage(3, 64, 2, 100), *stage(64, 128, 2), *stage(128, 256, 3))
        self.to_pool4, self.to_pool5 = nn.Sequential(*stage(256, 512, 3)), nn.Sequential(*stage(512, 512, 3))
        self.fc6 = nn.Sequential(nn.Conv2d(512, 4096, 7), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.fc7 = nn.Sequential(nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.score_fr = nn.Conv2d(4096, 21, 1)
        with torch.no_grad():
            if skips:
                self.score_pool4, self.score_pool3 = nn.Conv2d(512, 21, 1), nn.Conv2d(256, 21, 1)
                self.up2, self.up4, self.up8 = upsampling(4, 2), upsampling(4, 2), upsampling(16, 8)
            else:
                self.up32 = upsampling(64, 32)

    def forward(self, data: Any) -> Any:
        pool3 = self.to_pool3(data)
        pool4 = self.to_pool4(pool3)
        x = self.score_fr(self.fc7(self.fc6(self.to_pool5(pool4))))
        if not self.skips:
            return crop(self.up32(x), 19, data)
        x = self.up2(x)
        x = self.up4(x + crop(self.score_pool4(pool4), 5, x))
        x = self.up8(x + crop(self.score_pool3(pool3), 9, x))
        return crop(x, 31, data)


def stage(channels: int, width: int, convs: int, first_pad: int = 1) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(convs):
        layers += [nn.Conv2d(width if i else channels, width, 3, padding=1 if i else first_pad), nn.ReLU(inplace=True)]
    return [*layers, nn.MaxPool2d(2, 2, ceil_mode=True)]


def crop(x: Any, offset: int, like: Any) -> Any:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def random_weights(module: nn.Module) -> None:
    """He-scaled, so that nothing is zero or infinite; the same for all, since the seed is."""
    torch.manual_seed(0)
    for p in module.parameters():
        if p.requires_grad:
            nn.init.kaiming_normal_(p) if p.ndim == 4 else nn.init.zeros_(p)


def theirs_forward(name: str, precision: str, compiled: bool, data: Any) -> Run:
    net = HandWritten(name.endswith("8s")).eval()
    random_weights(net)
    net = net.cuda().to(memory_format=torch.channels_last)
    if precision == "bf16":
        net, data = net.bfloat16(), data.bfloat16()
    data = data.to(memory_format=torch.channels_last)
    call = torch.compile(net, mode="reduce-overhead") if compiled else net

    def run() -> Any:
        with torch.inference_mode():
            return call(data)

    return run


def ours_forward(name: str, precision: str, data: Any) -> Run:
    path = ROOT / f"prototxt/{name}/deploy.prototxt"
    net = netspec.load(path, shapes={"data": tuple(data.shape)})
    random_weights(net)
    netspec.freeze(net.cuda(), precision)

    def run() -> Any:
        with torch.inference_mode():
            return net(data=data)["score"]

    return run


def theirs_step(name: str, precision: str, compiled: bool, data: Any, label: Any) -> Run:
    net = HandWritten(name.endswith("8s")).train()
    random_weights(net)
    net = net.cuda().to(memory_format=torch.channels_last)
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
    from netspec.passes.data_to_input import data_to_input
    from netspec.solver import Solver

    shapes = {"data": tuple(data.shape), "label": tuple(label.shape)}
    solver = Solver(
        ROOT / f"solvers/released/{name}.prototxt",
        overrides={"base_lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY, **QUIET},
        rewrite=lambda graph: data_to_input(graph, shapes).graph,
        feed=lambda: {"data": data, "label": label},
        device="cuda",
        precision=precision,
    )
    random_weights(solver.net)
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


if __name__ == "__main__":
    import sys

    main(5, "--quick" in sys.argv, (500, 500))
