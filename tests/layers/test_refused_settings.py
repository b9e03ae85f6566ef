"""What Caffe checks when it sets up a layer is an error with a place here: the checks no other table here has."""

from __future__ import annotations

from typing import Any

import pytest
from examples_of import examples
from one_layer import FILE, refused

from netspec import schema
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import catalogue
from netspec.net import Net
from netspec.passes.bind import bind
from netspec.spec import text

MAP = [(2, 4, 5, 6)]
BAD = [
    ("Accuracy", "accuracy_param { axis: 5 }", [(2, 4), (2,)], 1, "axis 5 is outside a bottom of 2 axes"),
    ("Concat", "concat_param { concat_dim: 7 }", MAP * 2, 1, "axis 7 is outside a bottom of 4 axes"),
    ("ContrastiveLoss", "", [(2, 4, 2, 2)] * 2 + [(2,)], 1, "[2, 4, 2, 2] must be N x C or N x C x 1 x 1"),
    ("Convolution", "convolution_param { num_output: 2 kernel_h: 2 }", MAP, 1, "kernel_size [2, 0] must be at least 1"),
    (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 axis: 0 }",
        [(2, 2, 2, 2, 2)],
        1,
        "4 spatial axes; 1 to 3 are supported",
    ),
    (
        "Convolution",
        'convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gauss" } }',
        MAP,
        1,
        "unknown filler type 'gauss', did you mean 'gaussian'?",
    ),
    (
        "Deconvolution",
        "convolution_param { num_output: 2 kernel_size: 2 axis: 9 }",
        MAP,
        1,
        "axis 9 is outside a bottom of 4 axes",
    ),
    (
        "HDF5Data",
        'hdf5_data_param { source: "x" batch_size: 1 } transform_param { scale: 2 }',
        [],
        1,
        "does not transform data",
    ),
    ("HDF5Output", "", [(2,), (2,)], 0, "file_name is missing or empty"),
    ("ImageData", 'image_data_param { source: "x" new_height: 3 }', [], 2, "new_height is given without new_width"),
    ("ImageData", 'image_data_param { source: "x" batch_size: 0 }', [], 2, "batch_size 0 is not in 1..2147483647"),
    ("ImageData", 'image_data_param { source: "none" batch_size: 1 }', [], 2, "image list 'none' is missing"),
    ("InnerProduct", "inner_product_param { num_output: 1 axis: 7 }", MAP, 1, "axis 7 is outside a bottom of 4 axes"),
    (
        "InnerProduct",
        "inner_product_param { num_output: 1 } param {} param {} param {}",
        MAP,
        1,
        "has 3 param entries for 2 parameter blobs",
    ),
    ("MemoryData", "memory_data_param { batch_size: 1 channels: 3 height: 2 }", [], 2, "width is missing or 0"),
    (
        "MemoryData",
        "memory_data_param { batch_size: 60000 channels: 3000 height: 200 width: 200 }",
        [],
        2,
        "a batch of [60000, 3000, 200, 200] has more than 2147483647 values",
    ),
    ("Pooling", "pooling_param { kernel_size: 2 } context_pad: 3", MAP, 1, "context_pad is not supported"),
    (
        "SigmoidCrossEntropyLoss",
        "loss_param { weight_by_label_freqs: true }",
        MAP * 2,
        1,
        "weight_by_label_freqs is not supported by SigmoidCrossEntropyLoss",
    ),
    ("Reorg", "reorg_param { stride: 0 }", [(1, 4, 4, 4)], 1, "stride must be at least 1"),
    ("ReLU", "loss_weight: 1 loss_weight: 2", MAP, 1, "loss_weight is given 2 times for 1 top"),
    ("ReLU", "propagate_down: true propagate_down: false", MAP, 1, "propagate_down is given 2 times for 1 bottom"),
    ("ReLU", "param { lr_mult: 1 }", MAP, 1, "has 1 param entries for 0 parameter blobs"),
    ("SmoothL1Loss", "", [(), ()], 1, "bottom 0 has no axes; at least one is wanted"),
    ("Softmax", "softmax_param { axis: 5 }", MAP, 1, "axis 5 is outside a bottom of 4 axes"),
    ("Softmax", "softmax_param { axis: -5 }", MAP, 1, "axis -5 is outside a bottom of 4 axes"),
    ("WindowData", 'window_data_param { source: "x" }', [], 2, "batch_size 0 is not in 1..2147483647"),
]


@pytest.mark.parametrize(("type", "settings", "shapes", "tops", "message"), BAD)
def test_refused(type: str, settings: str, shapes: list[Any], tops: int, message: str) -> None:
    if shapes:
        refused(type, settings, shapes, tops, message)
        return
    ends = " ".join(f'top: "t{i}"' for i in range(tops))
    with pytest.raises(SpecError, match=rf"layer 'one' \({type}\): ") as caught:
        Net(lower(text.parse(f'\nlayer {{ name: "one" type: "{type}" {ends}\n{settings} }}', FILE)))
    assert message in caught.value.message
    assert str(caught.value.loc).startswith((f"{FILE}:2:", f"{FILE}:3:"))


def test_shapes_of_inputs() -> None:
    source = 'layer { name: "i" type: "Input" top: "a" top: "b" top: "c"\n input_param { shape {} shape {} } }'
    with pytest.raises(
        SpecError, match=r"^net:2:16: error: layer 'i' \(Input\): 2 shapes for 3 tops; give one, or one"
    ):
        bind(lower(text.parse(source, "net")))


COUNTED = [
    (name, word, n)
    for name, cls in catalogue().items()
    for word, (least, most) in (("bottom", cls.bottoms), ("top", cls.tops))
    for n in (least - 1, (most or 0) + 1)
    if n >= 0 and (n < least or most is not None) and not (word == "top" and n < least and cls.loss)
]


@pytest.mark.parametrize(("name", "word", "n"), COUNTED, ids=lambda v: str(v))
def test_wrong_numbers_of_bottoms_and_tops(name: str, word: str, n: int) -> None:
    """One too few and one too many of what each type takes; a loss makes the tops that are missing."""
    net = schema.new("NetParameter")
    cls = catalogue()[name]
    counts = {"bottom": cls.bottoms[0], "top": cls.tops[0], word: n}
    for i in range(counts["bottom"]):
        net.layer.add(name=f"b{i}", type="Input", top=[f"b{i}"]).input_param.shape.add(dim=[2, 2])
    one = net.layer.add(name="one", type=name, top=[f"t{i}" for i in range(counts["top"])])
    one.bottom.extend(f"b{i}" for i in range(counts["bottom"]))
    for field, value in examples(name)[0].message.layer[-1].ListFields() if examples(name) else ():
        if field.name == cls.settings:
            getattr(one, field.name).CopyFrom(value)
    with pytest.raises(SpecError) as caught:
        bind(lower(text.parse(text.dump(net), FILE)))
    assert f"layer 'one' ({name}): has {n} {word}{'' if n == 1 else 's'} and takes " in caught.value.message
    assert caught.value.loc is not None and caught.value.loc.line > 0
