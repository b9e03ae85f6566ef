"""Forks' fields: all those seen in public nets are known, and what is unknown stops only what it must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netspec import schema, weights
from netspec.errors import SpecError
from netspec.ir.diff import diff
from netspec.ir.emit import emit_text
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.schema import protofile
from netspec.spec.text import dump, parse
from netspec.weights.model import Model, StoredLayer

SEEN = (Path(__file__).parent / "fork_fields.txt").read_text().split()
"""Dotted paths from a layer, of 593 public nets and their histories."""
OWN = 10000
"""Fields that forks add are numbered from here."""
WRITTEN = [
    ("ROIPooling", "roi_pooling_param { pooled_w: 7 pooled_h: 7 spatial_scale: 0.0625 # 1/16\n }"),
    ("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.0625 output_dim: 21 group_size: 7 }"),
    (
        "PriorBox",
        "prior_box_param { min_size: 30.0 max_size: 60.0 flip: true clip: false variance: [0.1, 0.2] step: 8 }",
    ),
    ("DetectionOutput", "detection_output_param { num_classes: 21 code_type: CENTER_SIZE nms_param { top_k: 400 } }"),
    ("MultiBoxLoss", "multibox_loss_param { mining_type: MAX_NEGATIVE loc_loss_type: SMOOTH_L1 }"),
    ("Data", "transform_param { resize_param { resize_mode: WARP interp_mode: LINEAR interp_mode: AREA } }"),
    ("Data", "transform_param { random_resize_param { min_size: 256 resize_param { interp_mode: CUBIC } } }"),
    ("Data", "data_param { cache: true shuffle: true transform_param { mirror: true } }"),
    ("Pooling", "pooling_param { pool: MAX ceil_mode: false }"),
    ("BatchNorm", "batch_norm_param { scale_bias: true scale_filler { value: 1 } engine: MKL2017 }"),
    ("Convolution", 'engine: "MKLDNN" quantization_param { bw_layer_in: 8 scale_in: 1.5 is_negative_input: true }'),
    (
        "Convolution",
        "forward_type: FLOAT16 backward_type: FLOAT convolution_param { cudnn_convolution_algo_seeker: GET }",
    ),
    ("RegionLoss", "region_loss_param { biases: [1.08, 1.19] bias_match: 1 rescore: 1 thresh: 0.6 }"),
    ("EvalDetection", "eval_detection_param { score_type: MULTIPLY nms: 0.5 biases: 1.08 }"),
    ("Python", "detectnet_groundtruth_param { coverage_type: RECTANGULAR object_class: { src: 1 dst: 0 } }"),
    ("VideoData", "video_data_param { video_type: WEBCAM device_id: 0 skip_frames: 10 }"),
    ("SmoothL1LossOHEM", "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }"),
    ("ReLU", "relu_param { engine: MKL2017 }"),
    ("RBM", "rbm_inner_product_param { connection_layer_param { inner_product_param { num_output: 3 } } }"),
]


@pytest.mark.parametrize("path", SEEN)
def test_known(path):
    message = schema.LayerParameter.DESCRIPTOR
    for name in path.split("."):
        assert message is not None and name in message.fields_by_name, f"{name} of {path}"
        message = message.fields_by_name[name].message_type


@pytest.mark.parametrize(("type", "settings"), WRITTEN)
def test_written_and_read_back(type, settings):
    text = f'layer {{ name: "x" type: "{type}" {settings} }}'
    message = parse(text).message
    assert parse(dump(message)).message == message


def test_what_a_net_says_of_its_arithmetic_changes_nothing():
    """NVIDIA's and Intel's fields beside the layers."""
    layers = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
    hints = "default_forward_type: FLOAT16 default_backward_math: FLOAT global_grad_scale: 1000 reduce_buckets: 4 "
    hints += 'default_conv_algos_override: "1,1,1" engine: "MKLDNN" compile_net_state { bn_scale_remove: true }'
    assert lower(parse(hints + layers)).layers == lower(parse(hints.replace(hints, " " * len(hints)) + layers)).layers


def test_numbers_of_fork_fields_are_private_and_distinct():
    sources = schema.sources()
    plain = {m.name: {f.name for f in m.field} for m in protofile.read(sources[:1]).message_type}
    for message in protofile.read(sources).message_type:
        numbers = [f.number for f in message.field]
        assert len(set(numbers)) == len(numbers), message.name
        added = [f for f in message.field if f.name not in plain.get(message.name, {f.name})]
        assert all(OWN <= f.number < 2**29 and not 19000 <= f.number < 20000 for f in added), message.name


def test_a_field_that_nobody_knows_is_refused_with_its_place():
    with pytest.raises(SpecError, match=r"net:1:\d+: .*no field 'roi_poling_param', did you mean 'roi_pooling_param'"):
        parse('layer { name: "x" roi_poling_param { pooled_w: 7 } }', "net")


def test_a_field_without_effect_is_refused_when_it_would_change_values():
    text = UNKNOWN.replace("kernel_size: 1", "kernel_size: 1 fuse_type: %s").split("layer {\n")[0]
    with pytest.raises(SpecError, match=r"net:3:\d+: .*layer 'conv' \(Convolution\): fuse_type is not supported"):
        Net(lower(parse(text % "FUSED_CONV_RELU", "net")))
    Net(lower(parse(text % "UNFUSED", "net")))


UNKNOWN = """name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 1 } }
layer {
  name: "odd" type: "ROIPoolingg" bottom: "conv" top: "odd" roi_pooling_param { pooled_w: 7 }
}
"""


def test_a_net_with_an_unknown_type_is_read_compared_and_written():
    graph = lower(parse(UNKNOWN, "net"))
    assert [spec.type for spec in graph.layers] == ["Input", "Convolution", "ROIPoolingg"]
    assert not diff(graph, lower(parse(emit_text(graph))))
    other = lower(parse(UNKNOWN.replace("pooled_w: 7", "pooled_w: 6")))
    assert any("pooled_w" in str(change) for change in diff(graph, other))


@pytest.mark.parametrize(
    ("type", "near"), [("ROIPoolingg", "ROIPooling"), ("SmoothL1los", "SmoothL1Loss"), ("Priorbox", "PriorBox")]
)
def test_a_net_with_an_unknown_type_does_not_run(type, near):
    with pytest.raises(SpecError) as caught:
        Net(lower(parse(UNKNOWN.replace("ROIPoolingg", type), "net")))
    assert str(caught.value).startswith(f"net:4:1: error: layer 'odd' ({type}): unknown layer type '{type}'")
    assert f"did you mean '{near}'?" in str(caught.value)
    assert "to add it, subclass netspec.layers.Layer" in str(caught.value)


@pytest.mark.parametrize("end", ["caffemodel.h5", "safetensors", "npz"])
def test_weights_of_an_unknown_type_are_converted(tmp_path, end):
    blobs = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)]
    first = tmp_path / "a.caffemodel"
    weights.write(first, Model("n", [StoredLayer("odd", "ROIPoolingg", list(blobs))]))
    weights.write(tmp_path / f"b.{end}", weights.read(first))
    (read,) = weights.read(tmp_path / f"b.{end}").blobs().values()
    assert all(np.array_equal(a, b) for a, b in zip(read, blobs, strict=True))


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field on the wire."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def test_a_forks_binary_weights_load_whatever_its_field_numbers(tmp_path):
    """roi_pooling_param under Fast R-CNN's number 8266711, and a number that means something else here."""
    blob = schema.new("BlobProto", data=[1, 2, 3])
    blob.shape.dim.append(3)
    layer = field(1, b"scale") + field(2, b"Normalize") + field(7, blob.SerializeToString())
    layer += field(8266711, b"\x08\x07") + field(11000, b"\xff\xff\xff") + field(149, b"\x18\x01")
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(field(1, b"fork") + field(100, layer))
    model = weights.read(path)
    assert [(one.name, one.type) for one in model.layers] == [("scale", "Normalize")]
    assert model.blobs()["scale"][0].tolist() == [1, 2, 3]
