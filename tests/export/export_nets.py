"""Nets to export: small ones as text, and one of 50 residual layers as its authors name them."""

from __future__ import annotations

import torch

from netspec.export.plan import PLAIN, deployed
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec.text import parse

# What names of inputs may look like.
ODD_NAMES = ("x", "x_2", "class", "self", "torch", "F", "data", "input", "1", "a-b")
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def layer(type: str, name: str, bottoms: str, top: str = "", settings: str = "") -> str:
    ends = "".join(f' bottom: "{b}"' for b in bottoms.split())
    ends += "".join(f' top: "{t}"' for t in (top or name).split())
    return f'layer {{ name: "{name}" type: "{type}"{ends} {settings} }}\n'


def input(name: str, *dims: int) -> str:
    return layer("Input", name, "", name, f"input_param {{ shape {{ {' '.join(f'dim: {n}' for n in dims)} }} }}")


def conv(name: str, bottom: str, outputs: int, kernel: int, more: str = "") -> str:
    return layer(
        "Convolution",
        name,
        bottom,
        settings=f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} }}",
    )


def conv_bn(name: str, bn: str, bottom: str, outputs: int, kernel: int, stride: int, pad: int) -> str:
    text = conv(name, bottom, outputs, kernel, f"pad: {pad} stride: {stride} bias_term: false")
    text += layer("BatchNorm", f"bn{bn}", name, name, "batch_norm_param { use_global_stats: true }")
    return text + layer("Scale", f"scale{bn}", name, name, "scale_param { bias_term: true }")


def relu(blob: str, name: str = "") -> str:
    return layer("ReLU", name or f"{blob}_relu", blob, blob)


def resnet(width: int = 64, size: int = 224, classes: int = 1000) -> str:
    """ResNet-50, or one as deep and narrower."""
    text = 'name: "ResNet-50"\n' + input("data", 1, 3, size, size)
    text += conv_bn("conv1", "_conv1", "data", width, 7, 2, 3) + relu("conv1")
    text += layer("Pooling", "pool1", "conv1", settings="pooling_param { kernel_size: 3 stride: 2 }")
    last = "pool1"
    for stage, (channels, blocks) in enumerate(STAGES, 2):
        channels = channels * width // 64
        for letter in "abcdef"[:blocks]:
            stride = 2 if letter == "a" and stage > 2 else 1
            text += residual(f"{stage}{letter}", last, channels, stride, letter == "a")
            last = f"res{stage}{letter}"
    text += layer("Pooling", "pool5", last, settings="pooling_param { pool: AVE global_pooling: true }")
    text += layer("InnerProduct", "fc1000", "pool5", settings=f"inner_product_param {{ num_output: {classes} }}")
    return text + layer("Softmax", "prob", "fc1000")


def residual(tag: str, bottom: str, channels: int, stride: int, projected: bool) -> str:
    """The block res<tag>: three convolutions, and one more beside them if projected."""
    side, name, text = bottom, f"res{tag}", ""
    if projected:
        side = f"{name}_branch1"
        text += conv_bn(side, f"{tag}_branch1", bottom, 4 * channels, 1, stride, 0)
    at = bottom
    for part, outputs, kernel, step in (("a", channels, 1, stride), ("b", channels, 3, 1), ("c", 4 * channels, 1, 1)):
        blob = f"{name}_branch2{part}"
        text += conv_bn(blob, f"{tag}_branch2{part}", at, outputs, kernel, step, kernel // 2)
        if part != "c":
            text += relu(blob)
        at = blob
    return text + layer("Eltwise", name, f"{side} {at}") + relu(name)


def build(text: str, seed: int = 0) -> Net:
    """The net in its TEST phase with random weights that keep values of usual size."""
    torch.manual_seed(seed)
    net = Net(
        deployed(lower(parse(text, "net.prototxt"), "TEST")),
        Context(phase="TEST", no_pass=PLAIN),
    )
    return randomized(net)


def randomized(net: Net) -> Net:
    for name, p in net.named_parameters():
        if name.endswith(".variance") or (name.endswith(".weight") and p.numel() == 1):
            p.data.uniform_(0.5, 1.5)
        elif p.ndim > 1:
            torch.nn.init.kaiming_uniform_(p.data, a=1)
        else:
            p.data.uniform_(0.5, 1.0)
    return net.requires_grad_(False)
