"""Rules on first values: weights that nothing sets, and interpolation kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netspec.check import View, rule
from netspec.check.subject import Edit, Finding, is_loss, name
from netspec.ir.graph import LayerSpec

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")


def settings(spec: LayerSpec) -> Any:
    """The message that holds a weighted layer's fillers."""
    return spec.proto.inner_product_param if spec.type == "InnerProduct" else spec.proto.convolution_param


def field(spec: LayerSpec) -> str:
    return "inner_product_param" if spec.type == "InnerProduct" else "convolution_param"


def zeros(spec: LayerSpec) -> bool:
    """Whether a layer's weights start as zeros."""
    filler = settings(spec).weight_filler
    return filler.type == "constant" and filler.value == 0


def upsamples(spec: LayerSpec) -> bool:
    """Whether a layer is a Deconvolution of stride 2 or more."""
    p = spec.proto.convolution_param
    return spec.type == "Deconvolution" and max([*p.stride, p.stride_h, p.stride_w]) > 1


def weighted(view: View) -> Iterator[tuple[int, LayerSpec, bool]]:
    """Layers with weights: position, layer, whether they are learned."""
    for n, spec in enumerate(view.graph.layers):
        params = view.params(n)
        if spec.type in WEIGHTED and params:
            yield n, spec, params[0].lr_mult != 0


def unset(view: View, spec: LayerSpec) -> bool:
    """Whether nothing but the filler sets a layer's weights, as far as can be told.

    With a weights file: the file lacks the layer. Without: some learned layer of the net has a filler other than
    zeros, so the net is meant to be trained from scratch.
    """
    if view.net.stored is not None:
        return not any(layer.name == spec.name and layer.blobs for layer in view.net.stored.layers)
    return any(learned and not zeros(other) for _, other, learned in weighted(view))


@rule("NS001", "zero weights that nothing sets", View)
def zero_weights(view: View) -> Iterator[Finding]:
    """A learned layer inside the net starts from zero weights.

    weight_filler is missing: its default is constant 0. The output is 0: a ReLU passes no gradient there, so the layer
    stays zero for ever, and a layer that learns from it gets nothing to learn from. Nets that take their weights from a
    file need no fillers, so the rule speaks only where the net is trained from scratch (other layers have fillers), or
    where the file given with --weights lacks the layer. A score layer of zeros learns well, and so does a branch whose
    output is added to another's.

    Put right: weight_filler { type: "msra" } (before a ReLU) or { type: "xavier" }.
    """
    for n, spec, learned in weighted(view):
        alone = learned and zeros(spec) and not upsamples(spec) and unset(view, spec)
        stopped = starves(view, n) if view.trains and alone else None
        if stopped:
            what = "passes no gradient" if stopped.type == "ReLU" else "has nothing to learn from"
            message = f"{name(spec)} starts from zero weights, and '{stopped.name}' ({stopped.type}) after it {what}"
            edit = None
            if not settings(spec).HasField("weight_filler"):
                edit = Edit(spec.loc(field(spec)), r"\{", '{ weight_filler { type: "msra" }')
            yield Finding(message, spec.loc(field(spec)), edit)


def starves(view: View, number: int) -> LayerSpec | None:
    """The first ReLU or learned layer that sees a layer's zeros, whatever stands between but sums with others."""
    todo, seen = [number], {number}
    for n in todo:
        for top in view.graph.layers[n].tops:
            for at in view.reading[top]:
                reader = view.graph.layers[at]
                learns = reader.type in WEIGHTED and any(p.lr_mult for p in view.params(at))
                if reader.type == "ReLU" or (learns and reader.type != "Deconvolution"):
                    return reader
                if len(reader.bottoms) == 1 and not is_loss(reader) and at not in seen:
                    seen.add(at)
                    todo.append(at)
    return None


@rule("NS002", "upsampling without interpolation", View)
def upsampling(view: View) -> Iterator[Finding]:
    """An upsampling Deconvolution (stride 2 or more) has weights that do not interpolate.

    Frozen (lr_mult 0) with random weights it blurs at random, with zeros everything after it is 0 and nothing below it
    learns; learned from zeros it starts as nothing. `netspec solve` puts bilinear kernels into frozen layers of zeros
    with square kernels and as many channels in as out, so these are not named; nor is what the file given with
    --weights sets, nor zeros in a net without a loss.

    Put right: weight_filler { type: "bilinear" } with group as large as num_output.
    """
    for n, spec, learned in weighted(view):
        p = spec.proto.convolution_param
        if not upsamples(spec) or p.weight_filler.type == "bilinear":
            continue
        shape = view.params(n)[0].blob.shape
        kept = shape[0] == shape[1] if p.group == 1 else shape[:2] == (p.group, 1)
        filled = not learned and kept and len(set(shape[2:])) == 1
        lacking = view.trains if view.net.stored is None else unset(view, spec)
        if (zeros(spec) and not filled and lacking) or (not zeros(spec) and not learned):
            kind = "zero" if zeros(spec) else p.weight_filler.type
            state = "starts" if learned else "is frozen and upsamples"
            message = f"{name(spec)} {state} with {kind} weights, not bilinear ones"
            yield Finding(message, spec.loc("convolution_param"))


@rule("NS003", "bilinear filler across channels", View)
def bilinear_across(view: View) -> Iterator[Finding]:
    """A bilinear filler fills every pair of channels, so each output sums up all inputs.

    The filler knows no channels: it puts the same kernel everywhere. Only with group equal to num_output, one kernel
    per channel, is the layer an interpolation. Weights files of such a net have num_output x 1 x k x k.

    Put right: group: <num_output> in convolution_param.
    """
    for n, spec, _ in weighted(view):
        p = spec.proto.convolution_param
        if p.weight_filler.type != "bilinear" or spec.type == "InnerProduct":
            continue
        bottom = view.bottom_shape(n)
        channels = bottom[1] if bottom else 0
        if channels > 1 and p.group != channels:
            edit = None
            if channels == p.num_output and not p.HasField("group"):
                edit = Edit(spec.loc("convolution_param"), r"\{", f"{{ group: {p.num_output}")
            message = f"{name(spec)}: the bilinear filler fills across {channels} channels; group is {p.group}"
            yield Finding(message, spec.loc("convolution_param.weight_filler"), edit)
