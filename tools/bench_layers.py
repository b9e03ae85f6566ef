"""Times GoogLeNet and ResNet-50 beside the same nets in plain torch.nn.functional calls, as ratios within one run.

The plain calls are what one writes by hand: the same parameters, values freed after their last reader, ReLU in place,
batch normalisation and its scale as one call. Both sides take turns in one process; the medians of the ratios within a
turn count. Rows: the whole net forward (TEST, one image) and a training pass (forward and backward), then every layer
type on its own. On a busy machine give OMP_NUM_THREADS=1: with one thread its own time counts, not the clock's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NETS = {"googlenet": "GoogLeNet", "resnet50": "ResNet-50"}
WEIGHTS = {"loss1/loss1": 0.3, "loss2/loss1": 0.3}
Call = Callable[..., Any]


def plain_call(step: Any, follower: Any) -> Call:
    """The one call that stands for a layer; `follower` is the Scale behind a BatchNorm."""
    import torch
    import torch.nn.functional as F

    p, blobs, layer = step.layer.p, step.params(), step.layer
    match step.spec.type:
        case "Convolution":
            weight, bias = blobs[0], blobs[1] if len(blobs) > 1 else None
            window = layer.window((1, 1, 224, 224))[1]
            return lambda x: F.conv2d(x, weight, bias, window.stride, window.pad, window.dilation, p.group)
        case "InnerProduct":
            return lambda x: F.linear(x.flatten(1), *blobs)
        case "ReLU":
            return F.relu_
        case "Pooling" if p.pool == 0:
            return lambda x: F.max_pool2d(x, p.kernel_size, p.stride, p.pad, ceil_mode=True)
        case "Pooling":
            return lambda x: F.avg_pool2d(x, p.kernel_size, p.stride, p.pad, ceil_mode=True)
        case "LRN":
            return lambda x: F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        case "Concat":
            return lambda *x: torch.cat(x, 1)
        case "Eltwise":
            return lambda a, b: a + b
        case "Dropout":
            return lambda x: F.dropout(x, p.dropout_ratio, layer.phase == "TRAIN", layer.phase != "TRAIN")
        case "Softmax":
            return lambda x: F.softmax(x, 1)
        case "SoftmaxWithLoss":
            return lambda x, label: F.cross_entropy(x, label.long())
        case "BatchNorm":
            factor, shift = follower.params()
            mean, variance = blobs[0].detach().clone(), blobs[1].detach().clone() + 1
            train = not layer.stored
            return lambda x: F.batch_norm(x, mean, variance, factor, shift, train, 0.1, p.eps)
    raise AssertionError(f"no plain call for a layer of type {step.spec.type}")


class Plain:
    """A net as plain calls on the parameters of a netspec net."""

    def __init__(self, net: Any) -> None:
        self.net = net
        steps = [s for s in net.steps if s.spec.type not in ("Input", "Scale")]
        after = {s.spec.bottoms[0]: s for s in net.steps if s.spec.type == "Scale"}
        self.calls = []
        for step in steps:
            scale = after.get(step.spec.tops[0])
            top = (scale or step).spec.tops[0]
            self.calls.append((step, scale, plain_call(step, scale), step.spec.bottoms, top))
        last = {blob: n for n, call in enumerate(self.calls) for blob in call[3]}
        self.dead = [[b for b, n in last.items() if n == number] for number in range(len(self.calls))]

    def run(self, inputs: dict[str, Any]) -> dict[Any, Any]:
        values = {blob: inputs[blob.name] for blob in self.net.graph.inputs}
        for (_, _, call, bottoms, top), dead in zip(self.calls, self.dead, strict=True):
            values[top] = call(*[values[b] for b in bottoms])
            for blob in dead:
                del values[blob]
        return values

    def train(self, inputs: dict[str, Any]) -> None:
        values = self.run(inputs)
        sum(WEIGHTS.get(b.name, 1.0) * values[b] for b in self.net.losses).backward()


def load(name: str, train: bool, size: int) -> tuple[Any, dict[str, Any]]:
    """A net and its inputs, with weights under which nothing is zero, denormal or infinite."""
    import torch

    from netspec.net import Net
    from netspec.passes.data_to_input import data_to_input
    from netspec.pipeline import load_graph
    from netspec.timing import random_inputs

    torch.manual_seed(0)
    path = ROOT / f"prototxt/{name}/{'train_val' if train else 'deploy'}.prototxt"
    shapes = {"data": (1, 3, size, size)} | ({"label": (1,)} if train else {})
    net = Net(data_to_input(load_graph(path, "TRAIN" if train else "TEST"), shapes).graph, shapes=shapes)
    with torch.no_grad():
        for p in net.parameters():
            torch.nn.init.kaiming_normal_(p) if p.ndim > 1 else p.abs_().add_(0.1)
    return net, random_inputs(net)


def turns(runs: int, *contenders: Call) -> list[list[float]]:
    """Seconds of each contender in each turn, after one turn to warm up.

    Who begins changes from turn to turn: the first finds the caches full of the other's values.
    """
    import torch

    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    rows = []
    for turn in range(runs + 1):
        row = [0.0] * len(contenders)
        for at in range(len(contenders)) if turn % 2 else reversed(range(len(contenders))):
            start = now()
            contenders[at]()
            row[at] = now() - start
        rows.append(row)
    return rows[1:]


def ratio(rows: list[list[float]]) -> float:
    """The median of first over second."""
    return statistics.median(a / b for a, b in rows)


def whole(name: str, runs: int, size: int) -> None:
    """Prints the ratios of the whole net."""
    import torch

    net, inputs = load(name, False, size)
    plain = Plain(net)
    with torch.inference_mode():
        rows = turns(runs, lambda: net(**inputs), lambda: plain.run(inputs))
    show(name, "forward", rows)
    net, inputs = load(name, True, size)
    plain = Plain(net)
    rows = turns(runs, lambda: net.loss(inputs)[0].backward(), lambda: plain.train(inputs))
    show(name, "training pass", rows)


def show(name: str, what: str, rows: list[list[float]]) -> None:
    mine, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{NETS[name]:12}{what:32}{1000 * mine:10.2f}{1000 * theirs:10.2f}{ratio(rows):8.2f}", flush=True)


def by_type(name: str, runs: int, size: int) -> None:
    """Prints, for each layer type, the sums over its layers, forward and backward, on the values of one pass."""
    import torch

    net, inputs = load(name, True, size)
    values = net.run(net.graph.blobs, inputs)
    sums: dict[str, list[list[float]]] = {}
    for step, scale, call, bottoms, top in Plain(net).calls:
        steps = [step, scale] if scale else [step]
        leaves = [values[b].detach().clone().requires_grad_(g) for b, g in zip(bottoms, step.gradient, strict=True)]
        grad = torch.ones_like(values[top])

        def mine(steps: list[Any] = steps, leaves: list[Any] = leaves, grad: Any = grad) -> None:
            made = [x.clone() for x in leaves]
            for one in steps:
                made = one.run(made)
            made[0].backward(grad)

        def theirs(call: Call = call, leaves: list[Any] = leaves, grad: Any = grad) -> None:
            call(*(x.clone() for x in leaves)).backward(grad)

        if any(x.requires_grad for x in leaves):
            rows = turns(runs, mine, theirs)
            total = sums.setdefault(" + ".join(s.spec.type for s in steps), [[0.0, 0.0] for _ in rows])
            for at, row in enumerate(rows):
                total[at] = [a + b for a, b in zip(total[at], row, strict=True)]
    for type, rows in sorted(sums.items()):
        show(name, type, rows)


def main(runs: int, quick: bool) -> None:
    size = 224
    print(f"one image of {size} x {size}, medians of {runs} turns")
    print(f"{'':44}{'netspec ms':>10}{'plain ms':>10}{'ratio':>8}")
    for name in NETS:
        whole(name, runs, size)
        if not quick:
            by_type(name, runs, size)
