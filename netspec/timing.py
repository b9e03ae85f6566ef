"""How long each layer of a net takes, forward and backward, and the net as a whole."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.step import Step


@dataclass(frozen=True)
class LayerTime:
    """Median milliseconds of one layer, and its multiply-accumulates."""

    name: str
    type: str
    forward: float
    backward: float
    macs: int


@dataclass(frozen=True)
class NetTime:
    """Layers, and the whole net run as it is run for real; peak memory in MiB of this process or on the GPU.

    A net without a loss has no backward pass (None), and its forward pass keeps nothing for one.
    """

    layers: tuple[LayerTime, ...]
    forward: float
    backward: float | None
    peak: float


def random_inputs(net: Net) -> dict[str, Tensor]:
    """Values for the net's inputs: what a layer calls plausible, class numbers 0 and 1 where no gradient could flow
    (labels), else noise."""
    labels, made = set(), {}
    for spec, layer in reversed(list(net.bound)):
        if labels.intersection(spec.tops) and not layer.params([net.blob_shapes[b] for b in spec.bottoms]):
            labels |= set(spec.bottoms)  # labels that are resized, cut or reshaped before they are read
        for i, bottom in enumerate(spec.bottoms):
            labels |= set() if layer.gradient_to(i) else {bottom}
            found = layer.plausible(i, net.blob_shapes[bottom])
            made |= {} if found is None else {bottom: torch.from_numpy(found)}
    out = {}
    for blob in net.graph.inputs:
        shape = net.blob_shapes[blob]
        value = made.get(blob, torch.randint(0, 2, shape).float() if blob in labels else torch.randn(shape))
        out[blob.name] = value.to(net.device)
    return out


def time_net(net: Net, inputs: Mapping[str, Tensor], iterations: int = 5) -> NetTime:
    """Medians over `iterations` after one run to warm up."""
    layers = tuple(time_layers(net, inputs, iterations))
    if not net.losses:
        with torch.inference_mode():
            forward = [time_forward(net, inputs) for _ in range(iterations + 1)]
        return NetTime(layers, median_ms(forward), None, peak_mib(net))
    both = [time_both(net, inputs) for _ in range(iterations + 1)]
    forward, backward = (median_ms(list(times)) for times in zip(*both, strict=True))
    return NetTime(layers, forward, backward, peak_mib(net))


def time_forward(net: Net, inputs: Mapping[str, Tensor]) -> float:
    """Seconds of one pass."""
    start = now(net)
    net(**inputs)
    return now(net) - start


def time_both(net: Net, inputs: Mapping[str, Tensor]) -> tuple[float, float]:
    """Seconds forward and backward."""
    start = now(net)
    loss, _ = net.loss(inputs)
    middle = now(net)
    loss.backward()
    return middle - start, now(net) - middle


def time_layers(net: Net, inputs: Mapping[str, Tensor], iterations: int) -> list[LayerTime]:
    """Every layer alone, on the values its bottoms have in one pass."""
    values: dict[Blob, Tensor] = {}
    rows = []
    for step in net.steps:
        if step.spec.type == "Input":
            values.update({top: inputs[top.name] for top in step.spec.tops})
            continue
        bottoms = [values[b].detach() for b in step.spec.bottoms]
        forward, backward, tops = time_layer(net, step, bottoms, iterations)
        values.update(zip(step.spec.tops, tops, strict=True))
        shapes = [tuple(b.shape) for b in bottoms], [tuple(t.shape) for t in tops]
        rows.append(LayerTime(step.spec.name, step.spec.type, forward, backward, step.layer.macs(*shapes)))
    return rows


def time_layer(net: Net, step: Step, bottoms: list[Tensor], iterations: int) -> tuple[float, float, list[Tensor]]:
    """Milliseconds forward and backward, and the tops."""
    overwrite, step.layer.overwrite = step.layer.overwrite, False
    forward, backward, tops = [], [], []
    for _ in range(iterations + 1):
        leaves = [b.requires_grad_(g) for b, g in zip(bottoms, step.gradient, strict=True)]
        start = now(net)
        tops = step.run(leaves)
        middle = now(net)
        wanted = [t for t in (*leaves, *step.params()) if t.requires_grad]
        roots = [t for t in tops if t.requires_grad]
        if roots and wanted:
            torch.autograd.grad(roots, wanted, [torch.ones_like(t) for t in roots], allow_unused=True)
        forward.append(middle - start)
        backward.append(now(net) - middle)
    step.layer.overwrite = overwrite
    return median_ms(forward), median_ms(backward), [t.detach() for t in tops]


def now(net: Net) -> float:
    """Seconds, after the device has finished what it was given."""
    if net.device.type == "cuda":
        torch.cuda.synchronize(net.device)
    return time.perf_counter()


def median_ms(seconds: list[float]) -> float:
    """The median in milliseconds, the first run left out."""
    return 1000 * statistics.median(seconds[1:])


def peak_mib(net: Net) -> float:
    """Peak memory so far: the GPU's where the net is there, else the process's."""
    if net.device.type == "cuda":
        return torch.cuda.max_memory_allocated(net.device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
