"""Layers as prototxt, and nets of them run once with random weights."""

from __future__ import annotations

import torch

from netspec.ir.lower import lower
from netspec.net import Net
from netspec.spec.text import parse
from netspec.spec.upgrade import upgrade_net


def run(text: str, phase: str = "TEST") -> Net:
    """A net with random weights; every output finite, in TRAIN with gradients for all that learns."""
    built = Net(lower(upgrade_net(parse(text, "net.prototxt")), phase))
    inputs = {b.name: torch.rand(built.blob_shapes[b]) for b in built.graph.inputs}
    for name in inputs:
        if "label" in name:
            inputs[name] = (inputs[name] * 3).floor()
    with torch.no_grad():
        for name, p in built.named_parameters():
            if p.requires_grad and p.ndim > 1 and "compatibility" not in name:
                p.normal_(0, 0.3)
    if phase == "TEST":
        assert all(torch.isfinite(v).all() for v in built(**inputs).values())
        return built
    loss, _ = built.loss(inputs)
    loss.backward()
    assert torch.isfinite(loss.value)
    learned = {name: p.grad for name, p in built.named_parameters() if p.requires_grad}
    assert learned and all(g is not None and torch.isfinite(g).all() for g in learned.values())
    return built


def conv(name: str, bottom: str, outputs: int, more: str = "kernel_size: 3 pad: 1") -> str:
    filler = 'weight_filler { type: "msra" }'
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ num_output: {outputs} {more} {filler} }} }}\n"
    )


def relu(blob: str) -> str:
    return f'layer {{ name: "relu_{blob}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'


def bn(blob: str, settings: str = "") -> str:
    return f'layer {{ name: "bn_{blob}" type: "BN" bottom: "{blob}" top: "{blob}" bn_param {{ {settings} }} }}\n'


def data(shape: str, name: str = "data") -> str:
    dims = " ".join(f"dim: {n}" for n in shape.split())
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def loss(scores: str, settings: str = "", labels: str = "label") -> str:
    return (
        f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{scores}" bottom: "{labels}" top: "loss" '
        f"loss_param {{ {settings} }} }}\n"
    )


FILLERS = 'scale_filler { type: "constant" value: 1 } shift_filler { type: "constant" value: 0.001 }'
POOL = (
    'layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" top: "{0}_mask" '
    "pooling_param {{ kernel_size: 2 stride: 2 }} }}\n"
)


def upsample(name: str, bottom: str, pool: str, settings: str) -> str:
    return (
        f'layer {{ name: "{name}" type: "Upsample" bottom: "{bottom}" bottom: "{pool}_mask" top: "{name}" '
        f"upsample_param {{ {settings} }} }}\n"
    )


def interp(name: str, bottom: str, settings: str) -> str:
    return f'layer {{ name: "{name}" type: "Interp" bottom: "{bottom}" top: "{name}" interp_param {{ {settings} }} }}\n'


def pool(name: str, bottom: str, settings: str) -> str:
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" pooling_param {{ {settings} }} }}\n'
    )
