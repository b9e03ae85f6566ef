"""Rules on losses: rates, classes, ignored labels."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from netspec import schema
from netspec.check import SolverFile, View, rule
from netspec.check.subject import Edit, Finding, name
from netspec.ir.canonical import canonical, normalization
from netspec.ir.graph import LayerSpec
from netspec.passes.data_to_input import role
from netspec.spec.param_str import entries

# Classes of the published data layers, by their module and what the top holds.
CLASSES = {
    ("voc_layers", "label"): 21,
    ("nyud_layers", "label"): 40,
    ("siftflow_layers", "sem"): 33,
    ("siftflow_layers", "geo"): 3,
    ("pascalcontext_layers", "label"): 60,
}
VOID = 255
# Rate x loss_weight x pixels above which an unnormalised loss diverges, and rate x loss_weight below which a
# normalised one does not move.
HIGH, LOW = 0.1, 1e-9
# Losses that loss_param says how to normalise, and solvers whose steps do not grow with the gradient.
NORMALISED = ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss")
ADAPTIVE = ("AdaGrad", "RMSProp", "AdaDelta", "Adam")


def labelled_losses(view: View) -> Iterator[tuple[int, LayerSpec, int]]:
    """SoftmaxWithLoss layers whose labels come from a published data layer, with the number of classes."""
    for n, spec in view.find("SoftmaxWithLoss"):
        source = view.writers[spec.bottoms[1]]
        param = source.proto.python_param
        classes = CLASSES.get((param.module, role(source, spec.bottoms[1].name)))
        if classes is not None:
            given = (entries(param.param_str) or {}).get("classes")
            yield n, spec, given if isinstance(given, int) else classes


def mode(spec: LayerSpec) -> str:
    """What the loss is divided by."""
    param = canonical(spec.proto).loss_param
    return schema.enum_name(param, "normalization") if param.HasField("normalization") else normalization(spec.type)


@rule("NS004", "rate and normalisation do not fit", SolverFile)
def rate(solver: SolverFile) -> Iterator[Finding]:
    """base_lr cannot fit what the loss is divided by.

    A loss that is a sum over pixels (normalize: false) has a gradient some 100,000 times that of a mean: rates for it
    lie near 1e-10, for a mean near 1e-3. What counts is base_lr x loss_weight (x pixels): an unnormalised loss with
    1e-3 diverges at once, a normalised one with 1e-14 does not move. Solvers that divide by the gradient's size (Adam
    and its like) do not diverge so.

    Put right: change base_lr, or normalize, or give the loss layer a loss_weight of about one over the pixels.
    """
    view, base = solver.train, solver.message.base_lr
    for n, spec in enumerate(view.graph.layers) if view else ():
        if view is None or spec.type not in NORMALISED:
            continue
        weight = spec.proto.loss_weight[0] if len(spec.proto.loss_weight) else 1.0
        pixels = prod((view.bottom_shape(n) or ())[2:])
        summed = mode(spec) in ("BATCH_SIZE", "NONE") and pixels > 1
        step = base * weight * (pixels if summed else 1)
        if summed and step > HIGH and solver.message.type not in ADAPTIVE:
            what = f"a sum over about {pixels} pixels of weight {weight:g}: it will diverge"
        elif not summed and 0 < step < LOW:
            what = f"a mean of weight {weight:g}: it will not move"
        else:
            continue
        yield Finding(f"base_lr {base:g} does not fit the loss '{spec.name}', {what}", solver.loc("base_lr"))


@rule("NS005", "classes and score channels differ", View)
def classes(view: View) -> Iterator[Finding]:
    """The scores of a loss have another number of channels than the labels have classes.

    Too few: a label beyond the channels is an error or reads memory of another pixel. Too many: channels that no label
    ever names. Known for the published data sets: PASCAL VOC 21, NYUDv2 40, SIFT Flow 33 and 3, PASCAL-Context 60.

    Put right: num_output of the score layer and of every upsampling after it.
    """
    for n, spec, wanted in labelled_losses(view):
        scores = view.bottom_shape(n)
        if scores and scores[1] != wanted:
            message = (
                f"{name(spec)}: '{spec.bottoms[0]}' has {scores[1]} channels, '{spec.bottoms[1]}' {wanted} classes"
            )
            yield Finding(message, spec.loc())


@rule("NS007", "void labels are not ignored", View)
def void_labels(view: View) -> Iterator[Finding]:
    """A loss without ignore_label reads labels that hold 255 for void.

    The published segmentation data sets mark pixels without a class, chiefly outlines, by 255. Without ignore_label
    the loss takes 255 as a class, and so it does where another label is ignored: Caffe reads past the scores.

    Put right: loss_param { ignore_label: 255 }.
    """
    for _, spec, _ in labelled_losses(view):
        given = spec.proto.loss_param
        if given.HasField("ignore_label") and given.ignore_label == VOID:
            continue
        has = f"ignores {given.ignore_label}" if given.HasField("ignore_label") else "has no ignore_label"
        message = f"{name(spec)} {has}, but '{spec.bottoms[1]}' holds {VOID} for void"
        yield Finding(message, spec.loc("loss_param"), ignoring(spec))


def ignoring(spec: LayerSpec) -> Edit:
    """Puts ignore_label right, in, or in with its message."""
    if spec.proto.loss_param.HasField("ignore_label"):
        return Edit(spec.loc("loss_param.ignore_label"), r"ignore_label\s*:\s*-?\w+", f"ignore_label: {VOID}")
    if spec.proto.HasField("loss_param"):
        return Edit(spec.loc("loss_param"), r"\{", f"{{ ignore_label: {VOID}")
    return Edit(spec.loc(), r"\{", f"{{ loss_param {{ ignore_label: {VOID} }}")
