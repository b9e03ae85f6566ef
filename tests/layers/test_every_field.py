"""Every field of every type's settings changes the result, is refused by name, or is listed here with the reason.

A field gets other values in the examples of its type, and beside the settings in COMPANY where it needs them. What is
compared: the parameter blobs and their fillers, all blobs of two passes, and the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import Example, examples
from test_every_type import TYPES

from netspec import schema
from netspec.errors import SpecError
from netspec.layers import Context, catalogue
from netspec.net import Net
from netspec.spec import text
from netspec.spec.text import is_repeated

FURTHER = {
    **dict.fromkeys(("Data", "DenseImageData", "ImageData", "ImageSegData", "WindowData"), ("transform_param",)),
    **dict.fromkeys(("InfogainLoss", "MultiBoxLoss", "SigmoidCrossEntropyLoss"), ("loss_param",)),
    **dict.fromkeys(("SoftmaxWithLoss", "SoftmaxWithLossOHEM"), ("loss_param",)),
    "AnnotatedData": ("transform_param", "annotated_data_param"),
}
"""Settings that a type reads beside its own."""

ENGINES = ("batch_norm", "bn", "concat", "inner_product", "lrn", "sigmoid", "softmax", "spp", "tanh")
RESIZE = "transform_param { resize_param { height: 4 width: 5 } }"
CROP = "data_param { batch_size: 16 } transform_param { crop_h: 2 crop_w: 2 emit_constraint { %s } }"
SIZES = tuple(
    f"transform_param {{ {settings} }}"
    for settings in (
        "resize_param { height: 5 width: 9 }",
        "crop_size: 0 resize_param { height: 5 width: 9 resize_mode: FIT_LARGE_SIZE_AND_PAD }",
        "crop_size: 2 img_rand_resize_lower: 12 img_rand_resize_upper: 12",
        "crop_size: 2 img_rand_resize_lower: 12 img_rand_resize_upper: 12 allow_upscale: true",
        "crop_size: 3 random_resize_param { min_size: 4 max_size: 12 }",
        "crop_size: 3 random_aspect_ratio_param { min_area_ratio: 0.6 aspect_ratio_change: 0.6 max_attempt: 1 }",
        "crop_size: 2 img_rand_resize_lower: 3 img_rand_resize_upper: 12 allow_upscale: true",
        "crop_size: 2 img_rand_resize_lower: 3 img_rand_resize_upper: 4",
        "crop_size: 2 allow_upscale: true rand_resize_ratio_lower: 1.2 rand_resize_ratio_upper: 1.6",
        "crop_size: 2 allow_upscale: true vertical_stretch_lower: 1.2 vertical_stretch_upper: 1.6",
        "crop_size: 2 allow_upscale: true horizontal_stretch_lower: 1.2 horizontal_stretch_upper: 1.6",
    )
)
NORMALIZING = ("loss_param { normalization: PRE_FIXED }", "loss_param { normalize: false }")
COMPANY: dict[str, tuple[str, ...]] = {
    "AnnotatedData": (
        RESIZE,
        RESIZE + " annotated_data_param { batch_sampler { max_sample: 1 sampler { min_scale: 0.6 max_scale: 0.9 } } }",
        "transform_param { resize_param { height: 4 width: 9 resize_mode: FIT_LARGE_SIZE_AND_PAD } }",
        CROP % "emit_overlap: 0.1",
        CROP % "emit_type: MIN_OVERLAP emit_overlap: 0.1",
        "transform_param { noise_param { saltpepper_param { fraction: 0.5 value: 3 } } }",
        "transform_param { noise_param { saltpepper: true saltpepper_param { fraction: 0.5 value: 3 } } }",
    ),
    "BatchNorm": ("batch_norm_param { scale_bias: true }", "batch_norm_param { filler { value: 2 } }"),
    "DetectionEvaluate": ("detection_evaluate_param { evaluate_difficult_gt: false }",),
    "DetectionOutput": (
        "detection_output_param { confidence_threshold: 0.01 nms_param { nms_threshold: 0.95 } }",
        "detection_output_param { nms_param { nms_threshold: 0.9 eta: 0.7 } }",
    ),
    "Dropout": ("phase: TRAIN",),
    "EvalDetection": ("eval_detection_param { nms: 0.3 }",),
    "ImageSegData": ("image_data_param { batch_size: 5 }", "image_data_param { label_type: NONE }"),
    "DenseImageData": ("dense_image_data_param { batch_size: 5 }",),
    "PriorBox": ("prior_box_param { min_size: 20 max_size: 30 }",),
    "MultiBoxLoss": (
        "multibox_loss_param { mining_type: HARD_EXAMPLE sample_size: 2 }",
        "multibox_loss_param { overlap_threshold: 0.2 }",
        "multibox_loss_param { use_difficult_gt: false }",
        "multibox_loss_param { nms_param { nms_threshold: 0.01 } use_prior_for_nms: true }",
        "multibox_loss_param { nms_param { nms_threshold: 0.01 } encode_variance_in_target: true }",
        "multibox_loss_param { encode_variance_in_target: true overlap_threshold: 0.2 }",
        "multibox_loss_param { overlap_threshold: 0.2 normalize: false }",
        "multibox_loss_param { overlap_threshold: 0.2 } loss_param { normalize: false }",
        "multibox_loss_param { mining_type: NONE use_prior_for_matching: false }",
        "loss_param { normalization: PRE_FIXED }",
    ),
    **dict.fromkeys(("Data", "ImageData"), SIZES),
    **dict.fromkeys(("InfogainLoss", "SigmoidCrossEntropyLoss", "SmoothL1LossOHEM"), NORMALIZING),
    **dict.fromkeys(
        ("SoftmaxWithLoss", "SoftmaxWithLossOHEM"), (*NORMALIZING, "loss_param { weight_by_label_freqs: true }")
    ),
    "Reshape": ("reshape_param { num_axes: 1 }",),
    "WindowData": (
        "window_data_param { fg_fraction: 1 batch_size: 16 }",
        "window_data_param { fg_fraction: 0 fg_threshold: 0.95 batch_size: 16 }",
    ),
}
"""Settings that make other fields count."""

READ_ELSEWHERE = dict.fromkeys(("scale", "mean_file", "crop_size", "mirror"), "Caffe reads it in transform_param")
AHEAD = dict.fromkeys(("cache", "precache", "threads", "parser_threads", "shuffle_buffer_size"), "how fast it reads")
IS_COLOR = dict.fromkeys(("force_color", "force_gray"), "is_color decides, as in Caffe")
NO_EFFECT: dict[str, dict[str, str]] = {
    **{f"{name}_param": {"engine": "how it computes"} for name in ENGINES},
    "convolution_param": dict.fromkeys(
        (
            "engine",
            "force_nd_im2col",
            "conv_algorithm",
            "mem_group_size",
            "cudnn_convolution_algo_seeker",
            "conv_algos_override",
            "cudnn_math_override",
        ),
        "how it computes",
    ),
    "eltwise_param": {"engine": "how it computes", "stable_prod_grad": "how it computes"},
    "relu_param": {"engine": "how it computes", "fuse": "how it computes"},
    "pooling_param": {"engine": "how it computes", "norm_region": "pooling has none"},
    "recurrent_param": {"debug_info": "what is logged"},
    "data_param": {
        **READ_ELSEWHERE,
        **AHEAD,
        **dict.fromkeys(("backend", "prefetch"), "what the database is counts; how fast it reads"),
        "force_encoded_color": "Caffe reads force_color in transform_param",
    },
    "image_data_param": READ_ELSEWHERE | AHEAD,
    "window_data_param": {**READ_ELSEWHERE, "cache_images": "how fast it reads"},
    "transform_param": {
        "use_gpu_transform": "how fast it reads",
        **dict.fromkeys(("resize_param.prob", "noise_param.prob"), "as in SSD"),
        **{
            f"{part}.resize_param.{field}": "the part's own sizes decide"
            for part in ("random_resize_param", "random_aspect_ratio_param")
            for field in ("prob", "height", "width", "height_scale", "width_scale")
        },
    },
    "loss_param": {"class_weighting": "SegNet reads it with weight_by_label_freqs"},
    "detection_output_param": dict.fromkeys(
        ("save_output_param", "save_file", "visualize", "visualize_threshold"), "nothing is written or shown"
    ),
    "eval_detection_param": dict.fromkeys(("sqrt", "constriant"), "of YOLO's first version"),
    "region_loss_param": dict.fromkeys(("softmax", "jitter", "absolute", "random"), "as in the fork"),
    "ConvolutionDepthwise": dict.fromkeys(("num_output", "group"), "both are the number of channels"),
    "Im2col": dict.fromkeys(("num_output", "bias_term", "group", "weight_filler", "bias_filler"), "of convolutions"),
    "AnnotatedData": {
        **dict.fromkeys(("force_color", "force_gray"), "of encoded images, as Data's"),
        "label_map_file": "as in SSD",
    },
    "DetectionEvaluate": {"resize_param": "boxes are shares of the image, or name_size_file gives its size"},
    "InfogainLoss": {"source": "a third bottom comes first"},
    "HDF5Output": {"file_name": "where the rows go"},
    **dict.fromkeys(("ImageData", "ImageSegData", "DenseImageData"), IS_COLOR),
    "MultiBoxLoss": {
        "do_neg_mining": "mining_type says it; another value is refused",
        "ignore_label": "it has no labels to ignore",
        "nms_param.eta": "as in the fork",
    },
    "MultiStageMeanfield": {"threshold": "as in the fork"},
    "Python": {"share_in_parallel": "workers are processes"},
    "SmoothL1LossOHEM": {"ignore_label": "it has no labels to ignore"},
    "WindowData": {
        **dict.fromkeys(("force_color", "force_gray"), "windows have three channels"),
        "transform_param.scale": "Caffe reads window_data_param.scale",
    },
}
"""Fields that change nothing, in Caffe or the fork either, or no number: by settings, or by type."""


@pytest.mark.parametrize("name", [name for name in TYPES if catalogue()[name].settings])
def test_every_field_counts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    idle = [
        f"{settings}.{path}"
        for settings in (catalogue()[name].settings, *FURTHER.get(name, ()))
        for path, values in fields(schema.new("LayerParameter").DESCRIPTOR.fields_by_name[settings].message_type)
        if not listed(name, f"{settings}.{path}") and effect(name, settings, path, values) == "nothing"
    ]
    assert not idle, "fields that change nothing and are not refused"


def listed(name: str, path: str) -> bool:
    """Whether a field, or the message it is in, stands in NO_EFFECT for its settings or its type."""
    settings, *words = path.split(".")
    known = {**NO_EFFECT.get(settings, {}), **NO_EFFECT.get(name, {})}
    return not {path, ".".join(words), words[0]}.isdisjoint(known)


def fields(message: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each field's path, and messages of which each sets it to another value than its default."""
    for field in message.fields:
        inner = [("", values(field))]
        if field.message_type is not None and field.message_type.name != "FillerParameter":
            inner = [(f".{path}", given) for path, given in fields(field.message_type)]
        for path, given in inner:
            yield field.name + path, [with_value(message, field, value) for value in given]


def with_value(message: Any, field: Any, value: Any) -> Any:
    out = schema.message_class(message.full_name.removeprefix("caffe."))()
    if is_repeated(field):
        getattr(out, field.name).append(value)
    elif field.message_type is not None:
        getattr(out, field.name).CopyFrom(value)
    else:
        setattr(out, field.name, value)
    return out


def values(field: Any) -> list[Any]:
    """Values of a field that are not its default."""
    default = None if is_repeated(field) or field.message_type is not None else field.default_value
    if field.message_type is not None:
        return [schema.new("FillerParameter", value=0.37), schema.new("FillerParameter", type="uniform", min=0.2)]
    if field.enum_type is not None:
        given: tuple[Any, ...] = tuple(v.number for v in field.enum_type.values)
    elif field.cpp_type == field.CPPTYPE_BOOL:
        given = (False, True)
    elif field.cpp_type == field.CPPTYPE_STRING:
        given = ("other", "square", "0.5 2")
    elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        given = (0.3, 1.5, 0.0, 1.0, 7.5, 0.95, 0.05)
    else:
        given = (2, 1, 3, 0, 4, 7, 101)
    return [value for value in given if value != default]


def effect(name: str, settings: str, path: str, given: list[Any]) -> str:
    """What the values of a field do: one "counts", each is "refused", or there is one that does "nothing"."""
    found = set()
    cases = [*((k, "") for k in range(len(examples(name)))), *((0, more) for more in COMPANY.get(name, ()))]
    for value in given:
        for k, more in cases:
            here = effect_of(name, k, more, settings, value)
            found.add(here)
            if here == "counts":
                return here
            if here == "not honoured":
                break
    return "nothing" if "nothing" in found else "refused"


def effect_of(name: str, k: int, more: str, settings: str, value: Any) -> str:
    """What a value does in one example; "" where it stands there already."""
    if changed(name, k, more, settings, value) == changed(name, k, more):
        return ""
    before, after = plain(name, k, more), outcome(name, k, more, settings, value)
    if isinstance(after, SpecError):
        return "not honoured" if "not honoured" in after.message else "refused"
    return "counts" if isinstance(before, SpecError) or differ(before, after) else "nothing"


@cache
def plain(name: str, k: int, more: str) -> Any:
    """The outcome of an example as it is."""
    return outcome(name, k, more)


def outcome(name: str, k: int, more: str, settings: str = "", value: Any = None) -> Any:
    """All that a net makes, or the error that it raises."""
    example, message = examples(name)[k], changed(name, k, more, settings, value)
    folder = Path(str(k))
    if not folder.exists():
        folder.mkdir()
        example.write_files(folder)
    try:
        return run_all(example, message, folder.absolute())
    except SpecError as e:
        return e


def changed(name: str, k: int, more: str, settings: str = "", value: Any = None) -> Any:
    """The net of an example with further settings, and with a value, in every layer of the type."""
    message = schema.new("NetParameter")
    message.CopyFrom(examples(name)[k].message)
    message.force_backward = True
    for layer in (layer for layer in message.layer if layer.type == name):
        merge(layer, text.parse(f"layer {{ {more} }}", "more").message.layer[0])
        if value is not None:
            merge(getattr(layer, settings), value)
    return message


def merge(into: Any, other: Any) -> None:
    """Fields of `other` replace those of `into`; a list becomes as long as it was, of the one value."""
    for field, value in other.ListFields():
        own = getattr(into, field.name)
        if is_repeated(field) and field.message_type is not None and len(own):
            for one in own:
                merge(one, value[0])
        elif is_repeated(field):
            long = max(1, len(own))
            del own[:]
            own.extend(list(value) * (long if len(value) == 1 else 1))
        elif field.message_type is not None:
            merge(own, value)
            own.SetInParent()
        else:
            setattr(into, field.name, value)


def run_all(example: Example, message: Any, folder: Path) -> list[Any]:
    net = Net(example.graph(message), Context(folder=folder, seed=1))
    fitting(example, net).give_arrays(net)
    declared = [blob for step in example.steps(net) for blob in declared_blobs(net, step)]
    torch.manual_seed(1)
    inputs = {name: value.requires_grad_() for name, value in example.inputs(net).items()}
    blobs: list[Any] = []
    for _ in range(2):
        torch.manual_seed(0)
        made = net.run(net.graph.blobs, inputs)
        blobs += [value.detach().clone() for value in made.values()]
    tops = [top for top in made.values() if top.requires_grad]
    for top in tops:
        top.backward(torch.linspace(-1, 1, top.numel()).reshape(top.shape), retain_graph=True)
    blobs += [blob.grad for blob in (*inputs.values(), *net.parameters())]
    return [*declared, *blobs, *net.state_dict().values()]


def fitting(example: Example, net: Net) -> Example:
    """The example without the prescribed parameters that the net has in another shape."""
    has = {f"param.{s.spec.name}.{i}": tuple(p.shape) for s in net.steps for i, p in enumerate(s.params())}
    return replace(example, values={k: v for k, v in example.values.items() if has.get(k, v.shape) == v.shape})


def declared_blobs(net: Net, step: Any) -> list[Any]:
    blobs = step.layer.params([net.blob_shapes[b] for b in step.spec.bottoms])
    return [(blob.name, blob.shape, str(blob.filler), blob.learn) for blob in blobs]


def differ(first: list[Any], second: list[Any]) -> bool:
    return not all(same(a, b) for a, b in zip_longest(first, second))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    return type(a) is type(b) and a == b
