"""Rules on how layers are put together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from netspec import schema
from netspec.check import NetFile, View, rule
from netspec.check.subject import Finding, is_loss, name
from netspec.ir.graph import LayerSpec, State, ancestors
from netspec.ir.lower import PHASES, kept, nth

MEASURES = ("Accuracy", "Silence", "HDF5Output")
LEARNING = {"TRAIN"}


@rule("NS008", "a blob is read before it is overwritten", NetFile)
def read_before(net: NetFile) -> Iterator[Finding]:
    """A layer changes a blob in place that another layer above has read.

    Both share memory: the other layer's gradient, and what it made if it keeps no copy, would be of the changed values.
    Caffe computes something wrong without a word; here such a net is refused.

    Put right: give the layer a top of its own, or let the other layer read the changed blob.
    """
    for phase in PHASES:
        readers: dict[str, str] = {}
        state = State(phase, 0, tuple(net.document.message.state.stage))
        for proto, place in zip(net.document.message.layer, net.document.place.fields["layer"], strict=True):
            if not kept(proto, place, state):
                continue
            for n, top in enumerate(proto.top):
                if n < len(proto.bottom) and proto.bottom[n] == top and top in readers:
                    message = (
                        f"layer '{proto.name}' ({proto.type}) changes '{top}' in place after '{readers[top]}' read it"
                    )
                    yield Finding(message, nth(place, "top", n).loc)
            readers.update((b, proto.name) for b in proto.bottom)
            for top in proto.top:
                readers.pop(top, None)


@rule("NS009", "training form in a deploy net", View)
def training_form(view: View) -> Iterator[Finding]:
    """A net without a loss, as it is deployed, has a layer that is told to behave as in training.

    BatchNorm with use_global_stats: false (BN with bn_mode: LEARN) normalises by the batch at hand, so an image's
    scores depend on the others; a layer with phase: TRAIN, or included in TRAIN alone, as Dropout may be, makes scores
    random or is missing.

    Put right: leave use_global_stats and phase out; both follow the phase then.
    """
    inputs = any(spec.type == "Input" for spec in view.graph.layers)
    if view.trains or not inputs:
        return
    for spec in view.graph.layers:
        p = spec.proto
        forced = p.HasField("phase") and schema.enum_name(p, "phase") == "TRAIN"
        only = [schema.enum_name(r, "phase") for r in p.include if r.HasField("phase")] == ["TRAIN"]
        batch = batch_field(spec)
        if batch:
            message = f"{name(spec)} normalises by the batch at hand in a deploy net: {batch[1]}"
            yield Finding(message, spec.loc(batch[0]))
        elif spec.type in ("Dropout", "BatchNorm", "BN") and (forced or only):
            yield Finding(f"{name(spec)} is in TRAIN form in a deploy net", spec.loc("phase" if forced else "include"))


def batch_field(spec: LayerSpec) -> tuple[str, str] | None:
    """The field that makes a normalisation take the batch's statistics, if there is one: its path and what it says."""
    p = spec.proto.batch_norm_param
    if spec.type == "BatchNorm" and p.HasField("use_global_stats") and not p.use_global_stats:
        return "batch_norm_param.use_global_stats", "use_global_stats is false"
    p = spec.proto.bn_param
    if spec.type == "BN" and p.HasField("bn_mode") and schema.enum_name(p, "bn_mode") == "LEARN":
        return "bn_param.bn_mode", "bn_mode is LEARN"
    return None


@rule("NS010", "BatchNorm without Scale", View)
def batch_norm_alone(view: View) -> Iterator[Finding]:
    """A BatchNorm is followed by no Scale, so its output stays at mean 0 and variance 1.

    Caffe's BatchNorm has no learned factor and bias: those are the Scale layer's (with bias_term: true). Nets from
    other frameworks that lack it compute something else than they did.

    Put right: a Scale layer with bias_term: true after the BatchNorm.
    """
    for _, spec in view.find("BatchNorm"):
        readers = {reader.type for top in spec.tops for reader in view.readers[top]}
        if readers and not readers & {"Scale", "Bias"}:
            yield Finding(f"{name(spec)} is followed by no Scale", spec.loc())


@rule("NS011", "parameters shared by accident", View)
def half_shared(view: View) -> Iterator[Finding]:
    """Two layers share some of their parameter blobs but not all; or all, though one reads what the other makes and the
    names are the other's.

    Blobs of one param name are one blob. Nets that share on purpose, as siamese ones do, share weights and biases
    between branches; a name copied along with a layer shares a blob by accident, or a missing name parts what should be
    one.

    Put right: a name for each param, or for none; names of its own for a layer that was copied.
    """
    layers: dict[str, list[int]] = defaultdict(list)
    for n, spec in enumerate(view.graph.layers):
        for param in spec.proto.param:
            if param.name:
                layers[param.name].append(n)
    pairs = {(m, n) for found in layers.values() for m, n in zip(found, found[1:], strict=False) if m != n}
    for m, n in sorted(pairs):
        ours, theirs = (
            [p.name for p in view.graph.layers[k].proto.param]
            + [""] * (len(view.params(k)) - len(view.graph.layers[k].proto.param))
            for k in (m, n)
        )
        shared = sum(bool(a) and a == b for a, b in zip(ours, theirs, strict=False))
        first, spec = view.graph.layers[m], view.graph.layers[n]
        if shared < max(len(ours), len(theirs)):
            message = f"{name(spec)} shares {shared} of {len(theirs)} parameter blobs with '{first.name}'"
            yield Finding(message, spec.loc("param"))
        elif copied(view, m, n):
            message = f"{name(spec)} shares its parameters with '{first.name}', which stands above it"
            yield Finding(message, spec.loc("param"))


def copied(view: View, above: int, number: int) -> bool:
    """Whether a layer's params bear the name of a layer that it reads from, near or far, and not its own."""
    first, spec = view.graph.layers[above], view.graph.layers[number]
    if spec.name.startswith(first.name) or above not in ancestors(view.graph, spec.bottoms):
        return False
    return all(re.match(rf"{re.escape(first.name)}(?![0-9])", p.name) for p in spec.proto.param if p.name)


@rule("NS012", "a layer learns nothing", View)
def dead(view: View) -> Iterator[Finding]:
    """A layer has parameters to learn, but no loss depends on it.

    Its gradient is never computed, so its weights stay as they were filled. Usually a bottom further down names the
    wrong blob. Layers whose only use is an output besides the losses are meant so too.

    Put right: the wiring below the layer, or lr_mult: 0 where it is not to learn.
    """
    under = ancestors(view.bound.graph, view.losses)
    for n, spec in enumerate(view.graph.layers):
        if view.graph.phase in LEARNING and view.trains and n not in under and any(p.lr_mult for p in view.params(n)):
            yield Finding(f"{name(spec)} has weights to learn, but no loss depends on it", spec.loc())


@rule("NS013", "a top nobody reads", View)
def unread(view: View) -> Iterator[Finding]:
    """In training, a top is read by no layer and is no loss or accuracy, so Caffe prints it as an output.

    Every displayed iteration prints each value of an unread blob: a data layer's unused label, a branch left over. In
    testing they may be meant.

    Put right: a Silence layer for what cannot be left out; otherwise remove what makes it.
    """
    if view.graph.phase not in LEARNING or not view.trains:
        return
    for top in view.graph.outputs:
        spec = view.writers[top]
        if not is_loss(spec) and spec.type not in MEASURES and top not in view.losses:
            loc = nth(spec.place, "top", spec.tops.index(top)).loc
            yield Finding(f"{name(spec)}: nobody reads its top '{top}', so it is printed as an output", loc)
