"""deploy: the net that gives scores, from the net that is trained.

1. Losses go. Of several, those whose loss_weight is less than the largest are auxiliary: what only they need goes too.
2. A SoftmaxWithLoss leaves a Softmax named `prob`, a SigmoidCrossEntropyLoss a Sigmoid; with `raw` nothing. Where
   several losses remain, the name is `prob_` and the blob's.
3. Everything the scores (and other unread blobs) do not depend on goes: labels, Accuracy, Silence.
4. Data layers become Input layers, as in `data_to_input`, of one image, or of the ten crops of one where they crop. The
   Input of a Python data layer is named `input`.
5. Dropout goes, for it does nothing in testing; before an InnerProduct it stays, as published classifiers have it.
6. Phase rules, loss weights and fillers go; a layer all of whose blobs are frozen (lr_mult 0) keeps its fillers, which
   are its values. Names stay, so that weights load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netspec import schema
from netspec.errors import SpecError, suggestion
from netspec.ir.emit import document
from netspec.ir.graph import Blob, Graph, LayerSpec, ancestors
from netspec.ir.lower import lower
from netspec.layers import layer_class
from netspec.layers.base import Shape
from netspec.passes.data_to_input import brings_data, input_layer, input_proto

ACTIVATIONS = {"SoftmaxWithLoss": ("Softmax", "softmax_param"), "SigmoidCrossEntropyLoss": ("Sigmoid", "")}
MEASURES = ("Accuracy", "Silence", "HDF5Output")
# Settings that a net without training or phases does not need.
TRAINING = ("include", "exclude", "loss_weight", "propagate_down", "phase")
FILLERS = {"weight_filler", "bias_filler", "filler"}
LEARNED = (
    "convolution_param",
    "inner_product_param",
    "scale_param",
    "bias_param",
    "embed_param",
    "recurrent_param",
    "prelu_param",
)
CROPS = 10


def deploy(graph: Graph, shapes: Mapping[str, Shape] | None = None, raw: bool = False) -> Graph:
    """The deploy net of a net in its TEST phase."""
    losses = [spec for spec in graph.layers if is_loss(spec)]
    most = max((weight(spec) for spec in losses), default=0.0)
    main = [spec for spec in losses if weight(spec) == most]
    scores = [spec.bottoms[0] for spec in main if spec.bottoms]
    keep = ancestors(graph, [*scores, *other_outputs(graph, losses)])
    specs = [spec for n, spec in enumerate(graph.layers) if n in keep and not is_loss(spec)]
    if not raw:
        specs += [a for a in (activation(graph, spec, len(main)) for spec in main) if a]
    needed = {b for spec in specs for b in spec.bottoms} | set(scores)
    specs = [inputs(spec, needed, shapes or {}) for spec in without_dropout(specs)]
    out = replace(graph, layers=tuple(plain(spec) for spec in specs), force_backward=False, debug_info=False)
    return lower(document(out), "TEST", graph.state.level)


def check_names(graph: Graph, shapes: Mapping[str, Shape]) -> None:
    """Refuses a shape of what is no input of a deploy net."""
    known = [top.name for top in graph.inputs]
    for name in shapes:
        if name not in known:
            raise SpecError(f"the deploy net has no input '{name}'{suggestion(name, known)}")


def is_loss(spec: LayerSpec) -> bool:
    """Whether a layer is one of the losses."""
    return bool(spec.bottoms) and layer_class(spec.type).loss


def weight(spec: LayerSpec) -> float:
    """A loss layer's weight: that of its first top."""
    return spec.proto.loss_weight[0] if len(spec.proto.loss_weight) else 1.0


def other_outputs(graph: Graph, losses: list[LayerSpec]) -> list[Blob]:
    """Unread blobs that no loss, measure or data layer makes, and that no loss was made for."""
    makers = graph.writers()
    gone = (*MEASURES, *(spec.type for spec in losses))
    return [b for b in graph.outputs if makers[b].type not in gone and not brings_data(makers[b])]


def activation(graph: Graph, loss: LayerSpec, losses: int) -> LayerSpec | None:
    """The layer that makes probabilities of what a loss compares."""
    if loss.type not in ACTIVATIONS or not loss.bottoms:
        return None
    type, settings = ACTIVATIONS[loss.type]
    score = loss.bottoms[0]
    taken = {name for spec in graph.layers for name in (spec.name, *(t.name for t in spec.tops))}
    name = f"prob_{score}" if losses > 1 or "prob" in taken else "prob"
    proto = schema.new("LayerParameter", name=name, type=type, bottom=[score.name], top=[name])
    if settings and loss.proto.HasField(settings):
        getattr(proto, settings).CopyFrom(getattr(loss.proto, settings))
    return LayerSpec(name, type, (score,), (Blob(name),), proto, loss.place)


def without_dropout(specs: list[LayerSpec]) -> list[LayerSpec]:
    """Readers of a Dropout read its bottom, unless an InnerProduct does."""
    readers: dict[Blob, set[str]] = {}
    for spec in specs:
        for b in spec.bottoms:
            readers.setdefault(b, set()).add(spec.type)
    instead: dict[Blob, Blob] = {}
    out = []
    for spec in specs:
        spec = replace(spec, bottoms=tuple(instead.get(b, b) for b in spec.bottoms))
        if spec.type == "Dropout" and "InnerProduct" not in readers.get(spec.tops[0], set()):
            instead[spec.tops[0]] = spec.bottoms[0]
        else:
            out.append(spec)
    return out


def inputs(spec: LayerSpec, needed: set[Blob], shapes: Mapping[str, Shape]) -> LayerSpec:
    """A data layer as an Input of the tops that are needed; an Input with the shapes given."""
    if not brings_data(spec) and spec.type != "Input":
        return spec
    used = replace(spec, tops=tuple(t for t in spec.tops if t in needed) or spec.tops[:1])
    new, _ = input_layer(used, shapes, "TEST")
    own = spec.proto.input_param.shape
    if spec.type == "Input" and len(own):
        sizes = dict(zip([t.name for t in spec.tops], [tuple(s.dim) for s in own] * len(spec.tops), strict=False))
    else:
        batch = CROPS if spec.proto.transform_param.crop_size else 1
        found = zip(used.tops, new.proto.input_param.shape, strict=True)
        sizes = {t.name: (batch, *tuple(s.dim)[1:]) for t, s in found}
    name = "input" if spec.type == "Python" else spec.name
    return replace(new, name=name, proto=input_proto(name, {**sizes, **shapes}, used))


def plain(spec: LayerSpec) -> LayerSpec:
    """The layer without what only training or phases need."""
    proto = type(spec.proto)()
    proto.CopyFrom(spec.proto)
    for field in TRAINING:
        proto.ClearField(field)
    if not len(proto.param) or any(param.lr_mult for param in proto.param):
        for descriptor, settings in proto.ListFields():
            if descriptor.message_type is not None and descriptor.name in LEARNED:
                for field in FILLERS.intersection(settings.DESCRIPTOR.fields_by_name):
                    settings.ClearField(field)
    return replace(spec, proto=proto)
