"""Times the solver's update: every rule on FCN-8s' 134 million parameters, beside torch.optim and memory itself.

One round measures, one after the other: the stream triad a = b + s c, a copy, netspec's update, and torch.optim's
fastest form of the same arithmetic (not always the same numbers: torch keeps the rate outside SGD's velocity). Medians
over rounds, also of the ratios within a round. GB/s count what an update must move at least: w, gradient and history
read, w and history written. On a busy machine give OMP_NUM_THREADS=1: threads otherwise wait for each other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NET = ROOT / "prototxt/voc-fcn8s/deploy.prototxt"
RATE, DECAY = 1e-4, 5e-4
FIELDS = {
    "SGD": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {},
    "RMSProp": {"rms_decay": 0.99},
    "AdaDelta": {"momentum": 0.95, "delta": 1e-6},
    "Adam": {"momentum": 0.9, "momentum2": 0.999},
}
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"momentum": 0.9, "fused": True}),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "fused": True}),
    "AdaGrad": ("Adagrad", {"fused": True}),
    "RMSProp": ("RMSprop", {"alpha": 0.99, "foreach": True}),
    "AdaDelta": ("Adadelta", {"rho": 0.95, "foreach": True}),
    "Adam": ("Adam", {"fused": True}),
}
ARRAYS = {"SGD": 5, "Nesterov": 5, "AdaGrad": 5, "RMSProp": 5, "AdaDelta": 7, "Adam": 7}
"""Arrays read or written by an update that touches each once."""
ON_GPU_ONLY_FOREACH = ("AdaGrad",)


def shapes(share: int) -> list[tuple[int, ...]]:
    """Shapes of FCN-8s' parameters that learn, the first axis divided by `share`."""
    import netspec

    net = netspec.load(NET, shapes={"data": (1, 3, 64, 64)})
    found = [tuple(p.shape) for p in net.parameters() if p.requires_grad]
    return [(max(1, s[0] // share), *s[1:]) for s in found]


def update(rule: str, weights: list[Any]) -> Callable[[], None]:
    """netspec's update, biases at twice the rate and without decay as in the published nets."""
    from netspec.solver.rules import Learned, Update
    from netspec.spec import text

    fields = {"type": f'"{rule}"', "weight_decay": DECAY, **FIELDS[rule]}
    lines = "\n".join(f"{name}: {value}" for name, value in fields.items())
    learned = [Learned("", w, 1.0 if w.ndim > 1 else 2.0, 1.0 if w.ndim > 1 else 0.0) for w in weights]
    made = Update(text.parse(lines, "<solver>", "SolverParameter"), learned)
    iteration = iter(range(1 << 30))
    return lambda: made.apply(RATE, next(iteration), 1)


def rival(rule: str, weights: list[Any]) -> tuple[str, Callable[[], Any]]:
    """torch.optim's step, and what it is called."""
    import torch

    name, options = RIVALS[rule]
    if weights[0].is_cuda and rule in ON_GPU_ONLY_FOREACH:
        options = {"foreach": True}
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "lr": RATE, "weight_decay": DECAY},
        {"params": [w for w in weights if w.ndim == 1], "lr": 2 * RATE, "weight_decay": 0.0},
    ]
    form = "fused" if options.get("fused") else "foreach"
    return f"{name} {form}", getattr(torch.optim, name)(groups, **options).step


def timed(run: Callable[[], Any], device: Any) -> float:
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


class Memory:
    """Three arrays as long as all parameters: a = b + s c moves three of them, a copy two."""

    def __init__(self, count: int, device: Any) -> None:
        import torch

        self.a, self.b, self.c = (torch.ones(count, device=device) for _ in range(3))

    def triad(self) -> None:
        import torch

        torch.add(self.b, self.c, alpha=0.5, out=self.a)

    def copy(self) -> None:
        self.a.copy_(self.b)


def measure(rule: str, all_shapes: list[tuple[int, ...]], runs: int, device: Any) -> tuple[str, dict[str, list[float]]]:
    """The rival's name, and each contender's seconds in every round after one to warm up."""
    import torch

    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(s, device=device) * 0.01) for s in all_shapes]
    grads = [torch.randn_like(w) for w in weights]
    for w in weights:
        w.grad = torch.empty_like(w)
    memory = Memory(sum(w.numel() for w in weights), device)
    name, step = rival(rule, weights)
    contenders = {"triad": memory.triad, "copy": memory.copy, "netspec": update(rule, weights), "torch": step}
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    for turn in range(runs + 1):
        for key, run in contenders.items():
            for w, g in zip(weights, grads, strict=True):  # updates may use gradients up
                w.grad.copy_(g)  # type: ignore[union-attr]
            took = timed(run, device)
            if turn:
                seconds[key].append(took)
    return name, seconds


def main(runs: int, quick: bool, device_name: str, only: str | None) -> None:
    """Prints one line per rule."""
    import torch

    device = torch.device(device_name)
    found = shapes(10 if quick else 1)
    count = sum(torch.Size(s).numel() for s in found)
    print(
        f"update of {count / 1e6:.1f} million parameters on {device}, {torch.get_num_threads()} threads, "
        f"median of {runs} interleaved rounds, GB/s of the bytes that must move"
    )
    print(
        f"{'rule':10}{'triad':>8}{'copy':>8}{'netspec':>9}{'seconds':>9}{'of triad':>10}  "
        f"{'torch.optim':18}{'GB/s':>7}{'seconds':>9}{'netspec is':>12}"
    )
    for rule in [only] if only else FIELDS:
        name, seconds = measure(rule, found, runs, device)
        moved = {"triad": 3, "copy": 2, "netspec": ARRAYS[rule], "torch": ARRAYS[rule]}
        rates = {key: [4e-9 * count * moved[key] / t for t in times] for key, times in seconds.items()}
        triad, copy, ours, theirs = (statistics.median(rates[key]) for key in moved)
        print(
            f"{rule:10}{triad:8.1f}{copy:8.1f}{ours:9.1f}{statistics.median(seconds['netspec']):9.3f}"
            f"{ratio(rates['netspec'], rates['triad']):10.2f}  {name:18}{theirs:7.1f}"
            f"{statistics.median(seconds['torch']):9.3f}{ratio(rates['netspec'], rates['torch']):11.2f}x",
            flush=True,
        )


def ratio(one: list[float], other: list[float]) -> float:
    """The median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
