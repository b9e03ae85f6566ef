"""freeze: a net for inference only, in the form this machine runs fastest.

1. In the TEST phase, on the CPU, weights of two-dimensional convolutions are reordered once for oneDNN's kernels and
   the plain ones let go, so that memory does not grow; channels lie innermost in all feature maps.
   A weight of more than 32 MiB that something else holds stays plain in fp32: there would be two.
   In fp32, 3 x 3 windows of stride 1 on many channels go by Winograd's products (switched off by no_pass "winograd").
2. BatchNorm and Scale in place behind a convolution become part of its weight and bias (passes/norm_folding), and a
   ReLU in place is computed with it.
3. With bf16, convolutions multiply in bfloat16 and add up in float32; layers with other weights, upsampling and what
   follows are float32 again.
4. On a GPU, channels are put innermost and, with bf16, weights become bfloat16; passes are recorded as CUDA graphs
   (switched off by no_pass "cuda_graphs").

fp32 gives the same values up to the order of additions. A frozen net has no parameters to save or to train.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from netspec import heap
from netspec.errors import SpecError
from netspec.layers.convolution import Convolution
from netspec.layers.large import LARGE
from netspec.layers.packed import can_pack, pack
from netspec.layers.relu import ReLU
from netspec.net import Net
from netspec.passes.norm_folding import norm_folding
from netspec.recording import Recorder, recordable
from netspec.step import LayerBlobs, Step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def freeze(net: Net, precision: str = "fp32") -> Net:
    """Freezes a TEST net in place and returns it."""
    if net.graph.phase != "TEST":
        raise SpecError("only a net in the TEST phase can be frozen")
    if precision not in DTYPES:
        raise SpecError(f"precision '{precision}' is unknown (known: {', '.join(DTYPES)})")
    net.requires_grad_(False)
    packing = net.device.type == "cpu" and can_pack()
    folding = {} if "norm_folding" in net.context.no_pass else norm_folding(net.bound)
    for number, step in enumerate(net.steps):
        if packs(step):
            freeze_step(net, step, folding.get(number, ()), DTYPES[precision], packing)
        step.widens = precision == "bf16" and step.packed is None and step.blobs is not None
    heap.prepare(heap.FROZEN)
    if net.device.type == "cuda" and recordable(net.bound) and "cuda_graphs" not in net.context.no_pass:
        net.recorder = Recorder(lambda: [halo.held() for halo in net.halos.values()])
    return net


def packs(step: Step) -> bool:
    """A convolution over height and width, run once, whose weights are its own."""
    layer = step.layer
    single = len(step.spec.bottoms) == 1 and step.blobs is not None and step.packed is None
    return type(layer) is Convolution and single and layer.sliding() is not None


@torch.no_grad()
def freeze_step(net: Net, step: Step, followers: Sequence[int], dtype: torch.dtype, packing: bool) -> None:
    assert isinstance(step.layer, Convolution) and step.blobs is not None
    spent = has_one_reader(step.blobs)
    weight, *bias = (p.detach() for p in step.params())
    if dtype == torch.float32 and weight.nbytes > LARGE and not spent:
        return
    weight, bias = fold(net, followers, weight, bias)
    bias = [b.to(dtype) for b in bias]
    fuse_relu(net, step, net.steps[followers[-1]] if followers else step)
    if not packing:
        step.packed = [weight.to(dtype).contiguous(memory_format=torch.channels_last), *bias]
        return
    window = step.layer.sliding()
    assert window is not None
    bottom = net.blob_shapes[step.spec.bottoms[0]]
    if dtype == torch.float32 and step.layer.suits_tiles(weight, window, bottom):
        step.packed = [weight, *bias]
    else:
        step.packed = [pack(weight, dtype, window, step.layer.group, bottom, spent), *bias]
    release(net, step)


def has_one_reader(blobs: LayerBlobs) -> bool:
    """Whether nothing else holds the first of a layer's blobs, or its memory."""
    alone = LayerBlobs()
    alone.register_parameter("weight", torch.nn.Parameter(torch.empty(1), requires_grad=False))
    return hasattr(torch._C, "_storage_Use_Count") and holders(blobs) == holders(alone)


def holders(blobs: LayerBlobs) -> tuple[int, int, int]:
    """How many hold a layer's first blob in Python, in PyTorch, and its memory: with this function's own."""
    blob: Any = blobs.blobs()[0]
    storage = blob.untyped_storage()
    return sys.getrefcount(blob), blob._use_count(), torch._C._storage_Use_Count(storage._cdata)  # type: ignore[attr-defined]


def release(net: Net, step: Step) -> None:
    """Lets the plain blobs go, unless another layer shares them."""
    assert step.blobs is not None
    for key, mine in list(step.blobs._parameters.items()):
        sharers = [s for s in net.steps if s.blobs and any(p is mine for p in s.blobs._parameters.values())]
        if len(sharers) == 1:
            step.blobs._parameters[key] = None


def fold(
    net: Net, followers: Sequence[int], weight: torch.Tensor, bias: list[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The weight and bias that do what BatchNorm and Scale layers do behind a convolution."""
    for follower in followers:
        step = net.steps[follower]
        factor, shift = step.layer.factor_and_shift(step.params())
        weight = weight * factor[:, None, None, None]
        bias = [b * factor for b in bias]
        if shift is not None:
            bias = [bias[0] + shift] if bias else [shift]
        step.folded = True
        net.scales.pop(follower, None)
    return weight, bias


def fuse_relu(net: Net, step: Step, last: Step) -> None:
    """Marks a plain ReLU that is written in place on the top of the last layer computed with a convolution."""
    top = last.spec.tops[0]
    for reader in net.steps:
        plain = isinstance(reader.layer, ReLU) and not reader.layer.p.negative_slope
        if plain and reader.spec.bottoms == (top,) and reader.layer.overwrite:
            assert isinstance(step.layer, Convolution)
            step.layer.then_relu = reader.folded = True
