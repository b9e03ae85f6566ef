"""Every form: its PyTorch source and its ONNX operators give what the layer gives, at several sizes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from export_nets import build, conv, input, layer

from netspec.errors import SpecError
from netspec.export import onnx_file, verify
from netspec.export.forms import forms
from netspec.export.plan import Plan, make_plan
from netspec.export.standalone import make_module, make_net
from netspec.net import Net

pytest.importorskip("onnxruntime")

MAP = input("x", 2, 6, 11, 13)
EVEN = input("x", 2, 6, 12, 14)
ROWS = input("x", 3, 8)
TWO = MAP + input("y", 2, 6, 11, 13)


def one(type: str, settings: str = "", source: str = MAP, bottoms: str = "x", tops: str = "top") -> str:
    return source + layer(type, "layer", bottoms, tops, settings)


SEQUENCE = input("x", 5, 2, 3, 2) + input("cont", 5, 2)
STATES = input("s", 2, 3) + input("h", 1, 2, 4) + input("c", 1, 2, 4)


def detections(settings: str) -> str:
    """Two classes beside the background, 12 prior boxes."""
    own = 3 if "share_location: false" in settings else 1
    text = input("loc", 2, 48 * own) + input("scores", 2, 36) + input("prior", 1, 2, 48)
    return text + layer(
        "DetectionOutput", "found", "loc scores prior", "", f"detection_output_param {{ num_classes: 3 {settings} }}"
    )


CASES = {
    "sigmoid": one("Sigmoid"),
    "tanh": one("TanH"),
    "absval": one("AbsVal"),
    "bnll": one("BNLL"),
    "relu": one("ReLU"),
    "leaky": one("ReLU", "relu_param { negative_slope: 0.1 }"),
    "relu6": one("ReLU6"),
    "clip": one("Clip", "clip_param { min: -0.5 max: 0.25 }"),
    "elu": one("ELU", "elu_param { alpha: 0.7 }"),
    "selu": one("SeLu"),
    "prelu": one("PReLU"),
    "prelu shared": one("PReLU", "prelu_param { channel_shared: true }"),
    "dropout": one("Dropout") + layer("ReLU", "next", "top", "last"),
    "spatial dropout": one("SpatialDropout") + layer("ReLU", "next", "top", "last"),
    "swish": one("Swish", "swish_param { beta: 1.5 }"),
    "silu": one("Swish"),
    "power": one("AbsVal", tops="a") + layer("Power", "p", "a", "", "power_param { power: 0.7 scale: 2 shift: 0.1 }"),
    "power linear": one("Power", "power_param { scale: -2 shift: 3 }"),
    "exp": one("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"),
    "log": one("AbsVal", tops="a") + layer("Log", "l", "a", "", "log_param { base: 10 shift: 0.5 }"),
    "log e": one("AbsVal", tops="a") + layer("Log", "l", "a", "", "log_param { shift: 0.5 }"),
    "threshold": one("Threshold", "threshold_param { threshold: 0.2 }"),
    "sum": one("Eltwise", "", TWO, "x y"),
    "difference": one("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", TWO, "x y"),
    "weighted": one("Eltwise", "eltwise_param { coeff: -0.5 coeff: 2 }", TWO, "x y"),
    "product": one("Eltwise", "eltwise_param { operation: PROD }", TWO, "x y"),
    "maximum": one("Eltwise", "eltwise_param { operation: MAX }", TWO, "x y"),
    "axpy": TWO + input("a", 2, 6) + layer("Axpy", "layer", "a x y"),
    "axpy maps": TWO + input("a", 2, 6, 1, 1).replace("dim: 1", "dim: 1") + layer("Axpy", "layer", "a x y"),
    "convolution": one("Convolution", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 group: 2 }"),
    "dilated": one(
        "Convolution", "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 dilation: 2 bias_term: false }"
    ),
    "several": one("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }", TWO, "x y", "a b"),
    "depthwise": one("ConvolutionDepthwise", "convolution_param { num_output: 6 kernel_size: 3 }"),
    "one axis": input("x", 2, 6, 11)
    + layer("Convolution", "c", "x", "", "convolution_param { num_output: 4 kernel_size: 3 }"),
    "deconvolution": one(
        "Deconvolution", "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2 }"
    ),
    "max pool": one("Pooling", "pooling_param { kernel_size: 2 stride: 2 }"),
    "max pool 3": one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
    "max pool dropped": one("Pooling", "pooling_param { kernel_size: 3 stride: 3 pad: 1 }"),
    "max pool floor": one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR }"),
    "max pool sparse": one("Pooling", "pooling_param { kernel_size: 1 stride: 2 }"),
    "max pool padded": one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 2 }"),
    "average": one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"),
    "average padded": one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "average dropped": one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 3 pad: 1 }"),
    "average same": one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }"),
    "global": one("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    "global max": one("Pooling", "pooling_param { global_pooling: true }"),
    "lrn": one("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }"),
    "lrn within": one("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 norm_region: WITHIN_CHANNEL }"),
    "crop": MAP
    + conv("small", "x", 2, 5)
    + layer("Crop", "layer", "x small", "", "crop_param { offset: 1 offset: 3 }"),
    "crop rows": MAP
    + layer("Pooling", "small", "x", "", "pooling_param { pool: AVE kernel_size: 3 }")
    + layer("Crop", "layer", "x small", "", "crop_param { axis: 3 offset: 2 }"),
    "crop center": one("CropCenter", "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 3 }"),
    "interp zoom": one("Interp", "interp_param { zoom_factor: 3 }"),
    "interp shrink": one("Interp", "interp_param { shrink_factor: 2 }"),
    "interp size": one("Interp", "interp_param { height: 20 width: 7 }"),
    "interp padded": one("Interp", "interp_param { height: 20 width: 7 pad_beg: -1 pad_end: -2 }"),
    "interp like": MAP
    + conv("small", "x", 2, 5)
    + layer("Interp", "layer", "small x", "", "interp_param { use_blob_size: true }"),
    "upsample": one("Upsample", "upsample_param { scale: 2 }"),
    "switches": EVEN
    + layer("Pooling", "pool", "x", "pool mask", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }")
    + layer("Upsample", "up", "pool mask", "", "upsample_param { scale: 2 }"),
    "unpooling": EVEN
    + layer("Pooling", "pool", "x", "pool mask", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }")
    + layer("Unpooling", "up", "pool mask", "", "unpooling_param { unpool: MAX kernel_size: 2 stride: 2 }"),
    "fully connected": one("InnerProduct", "inner_product_param { num_output: 5 }", input("x", 2, 6, 1, 3)),
    "fully connected rows": one("InnerProduct", "inner_product_param { num_output: 5 transpose: true }", ROWS),
    "fully connected last": one(
        "InnerProduct", "inner_product_param { num_output: 5 axis: 2 bias_term: false }", input("x", 2, 4, 3, 2)
    ),
    "embed": MAP
    + layer("ArgMax", "best", "x", "", "argmax_param { axis: 1 }")
    + layer("Embed", "layer", "best", "", "embed_param { input_dim: 6 num_output: 3 }"),
    "parameter": ROWS
    + layer("Parameter", "own", "", "own", "parameter_param { shape { dim: 3 dim: 8 } }")
    + layer("Eltwise", "layer", "x own"),
    "batch reindex": MAP
    + layer("ArgMax", "best", "x", "", "argmax_param { }")
    + layer("Power", "zero", "best", "", "power_param { scale: 0 power: 1 }")
    + layer("Reshape", "index", "zero", "", "reshape_param { shape { dim: -1 } }")
    + layer("BatchReindex", "layer", "x index"),
    "concat": one("Concat", "concat_param { axis: 2 }", TWO, "x y"),
    "concat one": one("Concat") + layer("ReLU", "next", "top", "last"),
    "slice": one("Slice", "slice_param { slice_point: 1 slice_point: 4 }", tops="a b c"),
    "slice evenly": one("Slice", "slice_param { axis: 1 }", tops="a b"),
    "flatten": one("Flatten"),
    "flatten middle": one("Flatten", "flatten_param { axis: 2 end_axis: 3 }"),
    "reshape": one("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: 3 dim: -1 } }"),
    "reshape inner": one("Reshape", "reshape_param { axis: 1 num_axes: 1 shape { dim: 2 dim: 3 } }"),
    "reshape rest": one("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }"),
    "permute": one("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "shuffle": one("ShuffleChannel", "shuffle_channel_param { group: 3 }"),
    "shuffle rows": one("ShuffleChannel", "shuffle_channel_param { group: 2 }", ROWS),
    "reorg": one("Reorg", "reorg_param { stride: 2 }", input("x", 2, 8, 6, 4)),
    "reorg reverse": one("Reorg", "reorg_param { stride: 2 reverse: true }", input("x", 2, 12, 5, 3)),
    "tile": one("Tile", "tile_param { axis: 1 tiles: 3 }"),
    "reduce sum": one("Reduction", "reduction_param { axis: 2 coeff: 0.5 }"),
    "reduce mean": one("Reduction", "reduction_param { axis: 1 operation: MEAN }"),
    "reduce absolute": one("Reduction", "reduction_param { axis: -1 operation: ASUM }"),
    "reduce squares": one("Reduction", "reduction_param { axis: 2 operation: SUMSQ }"),
    "softmax": one("Softmax", "softmax_param { axis: 1 }"),
    "arg max": one("ArgMax", "argmax_param { axis: 1 }"),
    "arg max value": one("ArgMax", "argmax_param { axis: 1 out_max_val: true }"),
    "arg max three": one("ArgMax", "argmax_param { axis: 1 top_k: 3 }"),
    "arg max rows": one("ArgMax", "argmax_param { top_k: 2 out_max_val: true }"),
    "arg max all": one("ArgMax"),
    "batch norm": one("BatchNorm", "batch_norm_param { eps: 0.01 }"),
    "batch norm scale": one("BatchNorm", tops="n") + layer("Scale", "s", "n", "", "scale_param { bias_term: true }"),
    "batch norm of its own": one("BatchNorm", "batch_norm_param { scale_bias: true }"),
    "bn inference": one("BN", "bn_param { bn_mode: INFERENCE }"),
    "bn stored": one("BN", "bn_param { momentum: 0.9 }"),
    "scale": one("Scale", "scale_param { bias_term: true }"),
    "scale two": MAP + input("y", 2, 6) + layer("Scale", "layer", "x y", "", "scale_param { axis: 0 bias_term: true }"),
    "bias": one("Bias"),
    "bias two": MAP + input("y", 2, 6) + layer("Bias", "layer", "x y", "", "bias_param { axis: 0 }"),
    "normalize": one("Normalize", "norm_param { across_spatial: false }"),
    "normalize all": one("Normalize", "norm_param { channel_shared: true }"),
    "mvn": one("MVN"),
    "mvn across": one("MVN", "mvn_param { across_channels: true }"),
    "mvn mean": one("MVN", "mvn_param { normalize_variance: false }"),
    "silence": one("Split", tops="a b")
    + layer("Silence", "quiet", "a").replace('top: "quiet"', "")
    + layer("ReLU", "r", "b"),
    "prior box": input("x", 1, 6, 4, 4)
    + input("y", 1, 3, 32, 32)
    + layer("PriorBox", "p", "x y", "", "prior_box_param { min_size: 8 aspect_ratio: 2 }")
    + layer("ReLU", "r", "p"),
    "prior box of any size": input("x", 1, 6, 4, 4)
    + input("y", 1, 3, 32, 32)
    + layer(
        "PriorBox", "p", "x y", "", "prior_box_param { min_size: 8 max_size: 12 aspect_ratio: 2 flip: true clip: true }"
    ),
    "prior box with steps": input("x", 1, 6, 4, 4)
    + input("y", 1, 3, 32, 32)
    + layer(
        "PriorBox",
        "p",
        "x y",
        "",
        "prior_box_param { min_size: 8 step_w: 7 step_h: 9 offset: 0.25 img_w: 30 img_h: 40 variance: 0.1 variance: 0.2"
        " variance: 0.3 variance: 0.4 }",
    ),
    "detections": detections("confidence_threshold: 0.3 keep_top_k: 9 nms_param { nms_threshold: 0.4 top_k: 20 }"),
    "detections of all": detections("share_location: false code_type: CENTER_SIZE"),
    "detections, corners by size": detections("code_type: CORNER_SIZE variance_encoded_in_target: true keep_top_k: 5"),
    "no detections": detections("confidence_threshold: 2"),
    "regions": input("x", 1, 6, 11, 13)
    + input("rois", 7, 5)
    + layer("ROIPooling", "r", "x rois", "", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }"),
    "filter": one("Filter", "", input("x", 5, 3) + input("y", 5), "x y"),
    "im2col": one("Im2col", "convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 }"),
    "im2col dilated": one("Im2col", "convolution_param { kernel_size: 2 dilation: 2 }"),
    "pyramid": one("SPP", "spp_param { pyramid_height: 3 }"),
    "pyramid of means": one("SPP", "spp_param { pyramid_height: 2 pool: AVE }"),
    "pyramid of one": one("SPP", "spp_param { pyramid_height: 1 }"),
    "lstm": SEQUENCE + layer("LSTM", "layer", "x cont", "", "recurrent_param { num_output: 4 }"),
    "lstm with all": SEQUENCE
    + STATES
    + layer("LSTM", "layer", "x cont s h c", "layer hT cT", "recurrent_param { num_output: 4 expose_hidden: true }"),
    "lstm of rows": input("x", 5, 2, 3)
    + input("cont", 5, 2)
    + layer("LSTM", "layer", "x cont", "", "recurrent_param { num_output: 3 }"),
    "rnn": SEQUENCE + layer("RNN", "layer", "x cont", "", "recurrent_param { num_output: 4 }"),
    "rnn with all": SEQUENCE
    + STATES
    + layer("RNN", "layer", "x cont s h", "layer hT", "recurrent_param { num_output: 4 expose_hidden: true }"),
    "lstm unit": input("c", 1, 2, 3)
    + input("g", 1, 2, 12)
    + input("cont", 1, 2)
    + layer("LSTMUnit", "layer", "c g cont", "new h"),
    "in place": MAP + conv("c", "x", 3, 1) + layer("ReLU", "r", "c", "c") + layer("Sigmoid", "s", "c", "c"),
    "output passed on": one("Split", tops="a b"),
}
FIXED = ("prior box", "parameter", "lstm unit", "pyramid", "pyramid of means", "pyramid of one")


def both(net: Net, plan: Plan, path: Path) -> Sequence[verify.Difference]:
    """The differences of the ONNX file and of the module in source, at all sizes."""
    trials = verify.make_trials(net, plan)
    onnx_file.write(plan, path)
    rows = verify.compare(plan, trials, onnx_file.run(path, [t.inputs for t in trials]))
    module = make_net(plan)
    got = []
    for trial in trials:
        with torch.no_grad():
            values = module(*(torch.from_numpy(v) for v in trial.inputs.values()))
        got.append({k: v.numpy() for k, v in (values if isinstance(values, dict) else {"": values}).items()})
    return [*rows, *verify.compare(plan, trials, got)]


@pytest.mark.parametrize("case", CASES)
def test_form(case: str, tmp_path: Path) -> None:
    net = build(CASES[case])
    plan = make_plan(net, case in FIXED)
    rows = both(net, plan, tmp_path / "net.onnx")
    assert all(row.agrees for row in rows), "\n".join(map(str, rows))
    assert len(rows) >= (2 if case in FIXED else 6)


def test_every_source_is_formatted(tmp_path: Path) -> None:
    """ruff's formatter and linter, with their defaults, find nothing to change, and no line is too long."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("no ruff at hand")
    for number, case in enumerate(CASES):
        text = make_module(make_plan(build(CASES[case]), case in FIXED), None).text("net")
        (tmp_path / f"net{number}.py").write_text(text)
    for command in (["format", "--diff"], ["check"], ["check", "--select", "E501"]):
        done = subprocess.run([ruff, *command, "--isolated", "."], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_form_has_a_case() -> None:
    text = " ".join(CASES.values())
    assert not [
        type
        for type in forms()
        if f'type: "{type}"' not in text and type not in ("SeLuDropout", "DepthwiseConvolution")
    ]


def test_sizes_of_the_trials_differ() -> None:
    plan = make_plan(build(CASES["max pool 3"]))
    assert len({t["x"] for t in plan.trials}) > 3
    assert all(t["x"][2] % 2 and t["x"][3] % 2 for t in plan.trials[1:3])
    assert plan.axes[plan.inputs[0]] == ("batch", "", "height", "width")


def test_what_cannot_be_written_is_listed_at_once(tmp_path: Path) -> None:
    text = input("x", 1, 8, 6, 6) + input("rois", 2, 5)
    settings = "psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: 2 }"
    both = [layer("PSROIPooling", name, "x rois", "", settings) for name in ("one", "two")]
    with pytest.raises(SpecError, match=r"'one' \(PSROIPooling\), 'two' \(PSROIPooling\)"):
        make_plan(build(text + "".join(both)))
    text = one("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", tops="a")
    text += layer("Pooling", "next", "a", "", "pooling_param { pool: AVE kernel_size: 1 stride: 2 }")
    with pytest.raises(SpecError, match=r"'layer' \(Pooling\): pool STOCHASTIC; 'next' \(Pooling\): kernel"):
        onnx_file.write(make_plan(build(text)), tmp_path / "net.onnx")


def test_loops_are_no_torch_export_program(tmp_path: Path) -> None:
    from netspec.export import program

    with pytest.raises(SpecError, match=r"torch.export has no loops, .*: 'layer' \(LSTM\)"):
        program.write(make_plan(build(CASES["lstm"])), tmp_path / "net.pt2")


def test_outputs_without_information_are_marked() -> None:
    """Those of untrained layers: whatever computes them, they agree."""
    zeros = np.zeros((1, 2, 3, 3), np.float32)
    assert str(verify.one("score", {"data": (1, 3, 9, 9)}, zeros, zeros, "")).endswith("which proves little)")
    assert not verify.one("score", {}, np.arange(3.0), np.arange(3.0), "").flat
    assert not verify.one("loss", {}, np.zeros(1), np.zeros(1), "").flat


def test_rows_of_detections_are_compared_whatever_their_order() -> None:
    rows = np.array([[0, 1, 0.9, 1, 2, 3, 4], [0, 1, 0.8, 5, 6, 7, 8]], np.float32)
    assert verify.one("found", {}, rows, rows[::-1], "DetectionOutput").agrees
    assert not verify.one("found", {}, rows, rows[:1], "DetectionOutput").agrees
    assert not verify.one("found", {}, rows, rows + np.float32(0.1), "DetectionOutput").agrees


def test_names_of_blobs_stay(tmp_path: Path) -> None:
    import onnx

    onnx_file.write(make_plan(build(CASES["in place"])), tmp_path / "net.onnx")
    graph = onnx.load(str(tmp_path / "net.onnx")).graph
    assert [o.name for o in graph.output] == ["c"]
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        6,
        "height",
        "width",
    ]
    assert {i.name for i in graph.initializer} == {"c.weight", "c.bias"}
    assert np.array(graph.initializer[0].dims).tolist() == [3, 6, 1, 1]
