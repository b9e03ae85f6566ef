"""Nets and solvers of Caffe's older forms -> today's, places carried along.

Forms of a net: V0 (2013: `layers { layer { type: "conv" ... } }`), V1 (2014: `layers { type: CONVOLUTION ... }`),
today's `layer`. On the way, in this order:

1. V0: padding layers are folded into the convolution or pooling that reads them, flat fields go to `*_param`.
2. V1: `blobs_lr`, `weight_decay`, `param`, `blob_share_mode` become `param`; transform fields leave the data params.
3. `input` with `input_dim` or `input_shape` becomes an Input layer, the first one.
4. The three params of a BatchNorm layer get rates of 0: they are statistics, never learned.

What a form holds but the upgrade has no place for is dropped, with a warning in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from netspec import schema
from netspec.errors import Loc, SpecError, suggestion
from netspec.spec.text import Document, Place, is_repeated

log = logging.getLogger(__name__)

V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "CROP": "Crop",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DENSE_CRF": "DenseCRF",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "IMAGE_SEG_DATA": "ImageSegData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "INTERP": "Interp",
    "LRN": "LRN",
    "MAT_READ": "MatRead",
    "MAT_WRITE": "MatWrite",
    "MEMORY_DATA": "MemoryData",
    "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SEG_ACCURACY": "SegAccuracy",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "UNPOOLING": "Unpooling",
    "UPSAMPLE": "Upsample",
    "WINDOW_DATA": "WindowData",
}
V0_TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}
# The message that takes a V0 type's own fields.
V0_PARAM = {
    "concat": "concat_param",
    "conv": "convolution_param",
    "data": "data_param",
    "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param",
    "hdf5_output": "hdf5_output_param",
    "images": "image_data_param",
    "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "pool": "pooling_param",
    "window_data": "window_data_param",
}
# A V0 field: its name today, and the V0 types that have it.
V0_FIELDS = {
    "num_output": ("num_output", ("conv", "innerproduct")),
    "biasterm": ("bias_term", ("conv", "innerproduct")),
    "weight_filler": ("weight_filler", ("conv", "innerproduct")),
    "bias_filler": ("bias_filler", ("conv", "innerproduct")),
    "pad": ("pad", ("conv", "pool")),
    "kernelsize": ("kernel_size", ("conv", "pool")),
    "group": ("group", ("conv",)),
    "stride": ("stride", ("conv", "pool")),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", ("data", "hdf5_data", "images", "window_data", "infogain_loss")),
    "batchsize": ("batch_size", ("data", "hdf5_data", "images", "window_data")),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
    "hdf5_output_param": ("", ("hdf5_output",)),
}
V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
# Where V1 data layers keep the fields that belong to transform_param.
V1_DATA = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
# Per parameter blob: the repeated field of the old layer, the field of ParamSpec.
V1_PARAM = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
SOLVER_NETS = ("net_param", "train_net_param", "test_net_param")


def upgrade_net(document: Document, problems: list[SpecError] | None = None) -> Document:
    """A net of any form -> today's; one in today's form comes back as it is, the same object.

    `problems` takes what Caffe calls an error though it goes on: V0 fields that their layer's type does not have.
    Errors: `layer` and `layers` in one file, V0 and V1 layers in one file, an unknown V0 type, a padding layer read
    by anything but one convolution or pooling, an input without its shape.
    """
    net = document.message
    if not (len(net.layers) or len(net.input) or any(_learns_statistics(layer) for layer in net.layer)):
        return document
    out = Document(type(net)(), Place(document.place.loc))
    for name in _set_fields(net):
        if name not in ("layer", "layers", "input", "input_dim", "input_shape"):
            _copy(net, document.place, name, out.message, out.place)
    _input_layer(document, out)
    if len(net.layers):
        _old_layers(document, out, [] if problems is None else problems)
    elif len(net.layer):
        out.message.layer.MergeFrom(net.layer)
        out.place.fields.setdefault("layer", []).extend(place for _, place in _each(net, document.place, "layer"))
    for layer in out.message.layer:
        if _learns_statistics(layer):
            for param in layer.param:
                param.lr_mult = param.decay_mult = 0
    return out


def upgrade_solver(document: Document) -> Document:
    """`solver_type` -> `type`, and the nets inside the solver; a solver in today's form comes back as it is."""
    old = document.message
    nets = [(name, upgrade) for name in SOLVER_NETS for upgrade in _inner_nets(document, name)]
    if not old.HasField("solver_type") and all(new is was for _, (was, new) in nets):
        return document
    if old.HasField("solver_type") and old.HasField("type"):
        raise SpecError("both solver_type (old) and type (today's) are given", document.place.of("solver_type"))
    out = Document(type(old)(), Place(document.place.loc))
    for name in _set_fields(old):
        if name not in ("solver_type", *SOLVER_NETS):
            _copy(old, document.place, name, out.message, out.place)
    for name, (_, new) in nets:
        target = getattr(out.message, name)
        (target.add() if name == "test_net_param" else target).CopyFrom(new.message)
        out.place.fields.setdefault(name, []).append(new.place)
    if old.HasField("solver_type"):
        out.message.type = SOLVER_TYPES[schema.enum_name(old, "solver_type")]
        _carry(document.place, "solver_type", out.place, "type")
    return out


def _inner_nets(document: Document, name: str) -> Iterator[tuple[Document, Document]]:
    if name in _set_fields(document.message):
        for net, place in _each(document.message, document.place, name):
            inner = Document(net, place)
            yield inner, upgrade_net(inner)


def _old_layers(document: Document, out: Document, problems: list[SpecError]) -> None:
    """All `layers`, V0 or V1, into `layer`."""
    net, place = document.message, document.place
    if len(net.layer):
        raise SpecError("both 'layer' (today's form) and 'layers' (V1) are given: rewrite these", place.of("layer"))
    layers = list(_each(net, place, "layers"))
    v0 = [layer.HasField("layer") for layer, _ in layers]
    if any(v0):
        if not all(v0):
            raise SpecError("V0 and V1 layers in one net: rewrite this one", layers[v0.index(False)][1].loc)
        for layer, where in _fold_padding(net, layers):
            problems += _v0_layer(layer, where, *_added_layer(out, where))
        return
    moves = any(_has_transform(layer) for layer, _ in layers)
    for layer, where in layers:
        new, here = _added_layer(out, where)
        _v1_layer(layer, where, new, here)
        if moves:
            _move_transform(new, here)


def _added_layer(out: Document, where: Place) -> tuple[Any, Place]:
    place = Place(where.loc)
    out.place.fields.setdefault("layer", []).append(place)
    return out.message.layer.add(), place


def _fold_padding(net: Any, layers: list[tuple[Any, Place]]) -> list[tuple[Any, Place]]:
    """The layers without the padding ones; who read one reads its bottom, with the pad as its own."""
    writer: dict[str, tuple[Any, Place] | None] = dict.fromkeys(net.input)
    kept = []
    for layer, place in layers:
        for i, bottom in enumerate(layer.bottom):
            if bottom not in writer:
                known = suggestion(bottom, writer)
                raise SpecError(
                    f"layer '{layer.layer.name}': unknown bottom '{bottom}'{known}", _nth(place, "bottom", i)
                )
            source = writer[bottom]
            if source is not None and source[0].layer.type == "padding":
                layer, place = _padded(layer, place, *source)
        if layer.layer.type != "padding":
            kept.append((layer, place))
        writer.update((top, (layer, place)) for top in layer.top)
    return kept


def _padded(layer: Any, place: Place, padding: Any, padding_place: Place) -> tuple[Any, Place]:
    """The convolution or pooling with the padding layer's pad and bottom."""
    inner = layer.layer
    if inner.type not in ("conv", "pool"):
        raise SpecError(
            f"layer '{inner.name}' ({inner.type}) reads padding layer '{padding.layer.name}': only conv and pool can",
            place.loc,
        )
    if len(layer.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
        raise SpecError(f"padding before '{inner.name}': both need exactly one bottom, padding one top", place.loc)
    new = type(layer)()
    new.CopyFrom(layer)
    new.bottom[0] = padding.bottom[0]
    new.layer.pad = padding.layer.pad
    where = Place(place.loc, dict(place.fields))
    _carry(padding_place, "bottom", where, "bottom")
    if "layer" in place.fields and "layer" in padding_place.fields:
        inside = place.fields["layer"][0]
        where.fields["layer"] = [Place(inside.loc, dict(inside.fields))]
        _carry(padding_place.fields["layer"][0], "pad", where.fields["layer"][0], "pad")
    return new, where


def _v0_layer(old: Any, place: Place, new: Any, here: Place) -> list[SpecError]:
    """One V0 layer, padding folded already; returns its misplaced fields."""
    inner = old.layer
    inside = place.fields.get("layer", [place])[0]
    for name in _set_fields(old):
        if name in ("bottom", "top"):
            _copy(old, place, name, new, here)
        elif name != "layer":
            log.warning("%s: V0 layer '%s': %s is dropped", place.of(name), inner.name, name)
    if inner.HasField("type") and inner.type not in V0_TYPES:
        known = suggestion(inner.type, V0_TYPES)
        raise SpecError(f"layer '{inner.name}': unknown V0 layer type '{inner.type}'{known}", inside.of("type"))
    if inner.HasField("type"):
        new.type = V0_TYPES[inner.type]
        _carry(inside, "type", here, "type")
    misplaced = []
    for name in _set_fields(inner):
        if name in ("name", "blobs"):
            _copy(inner, inside, name, new, here)
        elif name not in ("type", *V1_PARAM) and not _v0_field(inner, inside, name, new, here):
            misplaced.append(_misplaced(inner, inside, name))
    _param_specs(inner, inside, new, here)
    return misplaced


def _misplaced(inner: Any, inside: Place, name: str) -> SpecError:
    types = ", ".join(V0_FIELDS.get(name, ("", ("none",)))[1])
    problem = f"layer '{inner.name}': a V0 layer of type {inner.type} has no {name} (types that have it: {types})"
    log.warning("%s: %s: dropped", inside.of(name), problem)
    return SpecError(problem, inside.of(name))


def _v0_field(inner: Any, inside: Place, name: str, new: Any, here: Place) -> bool:
    """A flat field into the message of its layer's type; False if the type does not have it."""
    if name in V0_TRANSFORM:
        _move(inner, inside, name, new, here, "transform_param", V0_TRANSFORM[name])
        return True
    target, types = V0_FIELDS.get(name, ("", ()))
    if inner.type not in types:
        return False
    if name == V0_PARAM[inner.type]:
        _copy(inner, inside, name, new, here)
    else:
        _move(inner, inside, name, new, here, V0_PARAM[inner.type], target)
    return True


def _v1_layer(old: Any, place: Place, new: Any, here: Place) -> None:
    for name in _set_fields(old):
        if name == "type":
            new.type = V1_TYPES[schema.enum_name(old, "type")]
            _carry(place, "type", here, "type")
        elif name not in V1_PARAM:
            _copy(old, place, name, new, here)
    _param_specs(old, place, new, here)


def _param_specs(old: Any, place: Place, new: Any, here: Place) -> None:
    """The parallel lists of an old layer -> one ParamSpec per parameter blob."""
    for name, target in V1_PARAM.items():
        for i, value in enumerate(getattr(old, name, ())):
            if len(new.param) <= i:
                new.param.add()
                here.fields.setdefault("param", []).append(Place(_nth(place, name, i)))
            setattr(new.param[i], target, value)
            here.fields["param"][i].fields[target] = [Place(_nth(place, name, i))]


def _has_transform(layer: Any) -> bool:
    param = V1_DATA.get(schema.enum_name(layer, "type"))
    return param is not None and any(getattr(layer, param).HasField(f) for f in TRANSFORM)


def _move_transform(new: Any, here: Place) -> None:
    """Transform fields of a data layer's own param go to transform_param and win there.

    Where one data layer of a net needs this, every data layer gets a transform_param.
    """
    params = {V1_TYPES[t]: param for t, param in V1_DATA.items()}
    if new.type not in params:
        return
    param = getattr(new, params[new.type])
    new.transform_param.SetInParent()
    if "transform_param" in here.fields:
        given = here.fields["transform_param"][0]
        here.fields["transform_param"] = [Place(given.loc, dict(given.fields))]
    inside = here.fields.get(params[new.type], [here])[0]
    for name in TRANSFORM:
        if param.HasField(name):
            _move(param, inside, name, new, here, "transform_param", name)
            param.ClearField(name)


def _input_layer(document: Document, out: Document) -> None:
    """input, input_dim (four axes each), input_shape -> an Input layer."""
    net, place = document.message, document.place
    if not len(net.input):
        return
    if not len(net.input_shape) and not len(net.input_dim):
        log.warning("%s: inputs without input_dim or input_shape are dropped", place.of("input"))
        return
    new, here = _added_layer(out, Place(place.of("input")))
    new.name, new.type = "input", "Input"
    _carry(place, "input", here, "top")
    source = "input_shape" if len(net.input_shape) else "input_dim"
    shapes = Place(place.of(source))
    here.fields["input_param"] = [shapes]
    for i, (name, dims, loc) in enumerate(_input_shapes(net, place)):
        if dims is None:
            needs = "no input_shape" if source == "input_shape" else "fewer than four values of input_dim"
            raise SpecError(f"input '{name}' has {needs}", _nth(place, "input", i))
        new.top.append(name)
        new.input_param.shape.add(dim=dims)
        shapes.fields.setdefault("shape", []).append(Place(loc))


def _input_shapes(net: Any, place: Place) -> Iterator[tuple[str, list[int] | None, Loc]]:
    """Every input with its axes and where they are given; None where too few are given."""
    for i, name in enumerate(net.input):
        if len(net.input_shape):
            yield (
                name,
                list(net.input_shape[i].dim) if i < len(net.input_shape) else None,
                _nth(place, "input_shape", i),
            )
        else:
            dims = list(net.input_dim[4 * i : 4 * i + 4])
            yield name, dims if len(dims) == 4 else None, _nth(place, "input_dim", 4 * i)


def _learns_statistics(layer: Any) -> bool:
    """Whether a BatchNorm layer of three params gives one of them a rate other than a written 0."""
    return (
        layer.type == "BatchNorm"
        and len(layer.param) == 3
        and any(not p.HasField(f) or getattr(p, f) != 0 for p in layer.param for f in ("lr_mult", "decay_mult"))
    )


def _set_fields(message: Any) -> list[str]:
    return [descriptor.name for descriptor, _ in message.ListFields()]


def _each(message: Any, place: Place, name: str) -> Iterator[tuple[Any, Place]]:
    """The messages in a field, each with its place; a net made in Python has the place of its owner throughout."""
    value = getattr(message, name)
    places = place.fields.get(name, [])
    for i, item in enumerate(value if is_repeated(message.DESCRIPTOR.fields_by_name[name]) else [value]):
        yield item, places[i] if i < len(places) else Place(place.loc)


def _nth(place: Place, name: str, i: int) -> Loc:
    found = place.fields.get(name, [])
    return found[i].loc if i < len(found) else place.loc


def _carry(place: Place, name: str, here: Place, target: str) -> None:
    if name in place.fields:
        here.fields[target] = place.fields[name]


def _copy(old: Any, place: Place, name: str, new: Any, here: Place, target: str = "") -> None:
    """A field of one message into another (as `target`), with its place."""
    target = target or name
    _carry(place, name, here, target)
    value = getattr(old, name)
    if is_repeated(old.DESCRIPTOR.fields_by_name[name]):
        getattr(new, target).MergeFrom(value)
    elif is_repeated(new.DESCRIPTOR.fields_by_name[target]):
        getattr(new, target).append(value)
    elif old.DESCRIPTOR.fields_by_name[name].message_type is not None:
        getattr(new, target).CopyFrom(value)
    else:
        setattr(new, target, value)


def _move(old: Any, place: Place, name: str, new: Any, here: Place, param: str, target: str) -> None:
    """A field of one message into the message `param` of another."""
    if param not in here.fields:
        here.fields[param] = [Place(place.of(name))]
    _copy(old, place, name, getattr(new, param), here.fields[param][0], target)
