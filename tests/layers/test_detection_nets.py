"""Small nets of the shape of SSD, Faster R-CNN, R-FCN and YOLO: read, inferred, run forward and back."""

from __future__ import annotations

import math

import torch

from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.passes.data_to_input import data_to_input
from netspec.spec.text import parse
from netspec.timing import random_inputs


def conv(name: str, bottom: str, channels: int, kernel: int = 3, stride: int = 1, more: str = "") -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{
      num_output: {channels} kernel_size: {kernel} pad: {kernel // 2} stride: {stride}
      weight_filler {{ type: "gaussian" std: 0.1 }} {more} }} }}
    """


def relu(name: str) -> str:
    return f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'


def inputs(**shapes: tuple[int, ...]) -> str:
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {' '.join(f'dim: {n}' for n in shape)} }} }} }}\n"
        for name, shape in shapes.items()
    )


def build(text: str, phase: str = "TRAIN", **context) -> Net:
    return Net(lower(parse(text, "net.prototxt"), phase), Context(**context))


def train(net: Net, given: dict[str, torch.Tensor], blob: str) -> torch.Tensor:
    """One pass forward and back; every value is a number, and so is every gradient of a layer."""
    loss, values = net.loss(given, [net.blob(blob)])
    loss.backward()
    assert torch.isfinite(loss.value) and loss.value > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    return values[net.blob(blob)]


def head(source: str, priors: int, sizes: str) -> str:
    """One source's predictions and priors, as SSD's model files have them."""
    out = ""
    for word, channels in (("loc", 4 * priors), ("conf", 3 * priors)):
        name = f"{source}_mbox_{word}"
        out += conv(name, source, channels)
        out += f'layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm" '
        out += "permute_param { order: 0 order: 2 order: 3 order: 1 } }\n"
        out += f'layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" }}\n'
    return (
        out
        + f"""layer {{ name: "{source}_mbox_priorbox" type: "PriorBox" bottom: "{source}" bottom: "data"
      top: "{source}_mbox_priorbox" prior_box_param {{ {sizes} flip: true clip: false
      variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5 }} }}
    """
    )


def ssd(end: str) -> str:
    text = inputs(data=(2, 3, 48, 48), label=(1, 1, 3, 8)) + conv("conv1", "data", 8, stride=4) + relu("conv1")
    text += """layer { name: "norm" type: "Normalize" bottom: "conv1" top: "norm" norm_param {
      across_spatial: false scale_filler { type: "constant" value: 20 } channel_shared: false } }
    """
    text += conv("conv2", "conv1", 8, stride=2) + relu("conv2")
    text += head("norm", 4, "min_size: 8 max_size: 16 aspect_ratio: 2 step: 4") + head(
        "conv2", 2, "min_size: 16 max_size: 24"
    )
    for word, suffix, axis in (("loc", "_flat", 1), ("conf", "_flat", 1), ("priorbox", "", 2)):
        bottoms = " ".join(f'bottom: "{source}_mbox_{word}{suffix}"' for source in ("norm", "conv2"))
        text += f'layer {{ name: "mbox_{word}" type: "Concat" {bottoms} top: "mbox_{word}" '
        text += f"concat_param {{ axis: {axis} }} }}\n"
    return text + end


TRUTH = torch.tensor(
    [[0.0, 1, 0, 0.1, 0.1, 0.4, 0.5, 0], [1, 2, 0, 0.3, 0.4, 0.9, 0.8, 0], [1, 1, 0, 0, 0, 0.2, 0.2, 1]]
)


def test_ssd_trains():
    net = build(ssd("""layer { name: "mbox_loss" type: "MultiBoxLoss" bottom: "mbox_loc" bottom: "mbox_conf"
      bottom: "mbox_priorbox" bottom: "label" top: "mbox_loss" include { phase: TRAIN }
      propagate_down: true propagate_down: true propagate_down: false propagate_down: false
      loss_param { normalization: VALID } multibox_loss_param { loc_loss_type: SMOOTH_L1 conf_loss_type: SOFTMAX
      loc_weight: 1 num_classes: 3 share_location: true match_type: PER_PREDICTION overlap_threshold: 0.5
      use_prior_for_matching: true background_label_id: 0 use_difficult_gt: true neg_pos_ratio: 3 neg_overlap: 0.5
      code_type: CENTER_SIZE ignore_cross_boundary_bbox: false mining_type: MAX_NEGATIVE } }"""))  # fmt: skip
    assert net.blob_shapes[net.blob("mbox_priorbox")] == (1, 2, 4 * (4 * 144 + 2 * 36))
    given = {"data": torch.randn(2, 3, 48, 48), "label": TRUTH[None, None]}
    assert train(net, given, "mbox_loss").shape == ()
    empty = {**given, "label": torch.full((1, 1, 1, 8), -1.0)}
    assert net.loss(empty)[0].value == 0


def test_ssd_detects_and_is_evaluated():
    net = build(ssd("""
      layer { name: "conf_reshape" type: "Reshape" bottom: "mbox_conf" top: "conf_reshape"
        reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
      layer { name: "conf_softmax" type: "Softmax" bottom: "conf_reshape" top: "conf_softmax"
        softmax_param { axis: 2 } }
      layer { name: "conf_flatten" type: "Flatten" bottom: "conf_softmax" top: "conf_flatten"
        flatten_param { axis: 1 } }
      layer { name: "detection_out" type: "DetectionOutput" bottom: "mbox_loc" bottom: "conf_flatten"
        bottom: "mbox_priorbox" top: "detection_out" include { phase: TEST }
        detection_output_param { num_classes: 3 share_location: true background_label_id: 0
          nms_param { nms_threshold: 0.45 top_k: 400 } save_output_param { label_map_file: "labelmap.prototxt" }
          code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.01 } }
      layer { name: "eval" type: "DetectionEvaluate" bottom: "detection_out" bottom: "label" top: "eval"
        detection_evaluate_param { num_classes: 3 background_label_id: 0 overlap_threshold: 0.5
          evaluate_difficult_gt: false } }"""), "TEST")  # fmt: skip
    out = net(data=torch.randn(2, 3, 48, 48), label=TRUTH[None, None], blobs=["detection_out", "eval"])
    assert out["detection_out"].shape == (1, 1, 40, 7) and out["eval"].shape == (1, 1, 42, 5)
    assert out["eval"][0, 0, :2, :3].tolist() == [[-1, 1, 1], [-1, 2, 1]]


RPN = (
    conv("conv1", "data", 8, stride=4) + relu("conv1") + conv("conv5", "conv1", 8, stride=4) + relu("conv5")
    + conv("rpn/output", "conv5", 8) + conv("rpn_cls_score", "rpn/output", 18, 1)
    + conv("rpn_bbox_pred", "rpn/output", 36, 1)
    + """
layer { bottom: "rpn_cls_score" top: "rpn_cls_score_reshape" name: "rpn_cls_score_reshape" type: "Reshape"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "rpn_cls_prob" type: "Softmax" bottom: "rpn_cls_score_reshape" top: "rpn_cls_prob" }
layer { name: "rpn_cls_prob_reshape" type: "Reshape" bottom: "rpn_cls_prob" top: "rpn_cls_prob_reshape"
  reshape_param { shape { dim: 0 dim: 18 dim: -1 dim: 0 } } }
"""
)  # fmt: skip
RPN_LOSS = """
layer { name: 'rpn-data' type: 'Python' bottom: 'rpn_cls_score' bottom: 'gt_boxes' bottom: 'im_info' bottom: 'data'
  top: 'rpn_labels' top: 'rpn_bbox_targets' top: 'rpn_bbox_inside_weights' top: 'rpn_bbox_outside_weights'
  python_param { module: 'rpn.anchor_target_layer' layer: 'AnchorTargetLayer' param_str: "'feat_stride': 16" } }
layer { name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "rpn_cls_score_reshape" bottom: "rpn_labels"
  propagate_down: 1 propagate_down: 0 top: "rpn_cls_loss" loss_weight: 1
  loss_param { ignore_label: -1 normalize: true } }
layer { name: "rpn_loss_bbox" type: "SmoothL1Loss" bottom: "rpn_bbox_pred" bottom: "rpn_bbox_targets"
  bottom: 'rpn_bbox_inside_weights' bottom: 'rpn_bbox_outside_weights' top: "rpn_loss_bbox" loss_weight: 1
  smooth_l1_loss_param { sigma: 3.0 } }
"""


def proposal(top: str) -> str:
    return f"""layer {{ name: 'proposal' type: 'Python' bottom: 'rpn_cls_prob_reshape' bottom: 'rpn_bbox_pred'
      bottom: 'im_info' top: '{top}' python_param {{ module: 'rpn.proposal_layer' layer: 'ProposalLayer'
      param_str: "'feat_stride': 16" }} }}
    """


def data_layer(classes: int) -> str:
    return f"""layer {{ name: 'input-data' type: 'Python' top: 'data' top: 'im_info' top: 'gt_boxes' python_param {{
      module: 'roi_data_layer.layer' layer: 'RoIDataLayer' param_str: "'num_classes': {classes}" }} }}
    """


def targets(classes: int) -> str:
    return f"""layer {{ name: 'roi-data' type: 'Python' bottom: 'rpn_rois' bottom: 'gt_boxes' top: 'rois' top: 'labels'
      top: 'bbox_targets' top: 'bbox_inside_weights' top: 'bbox_outside_weights' python_param {{
      module: 'rpn.proposal_target_layer' layer: 'ProposalTargetLayer' param_str: "'num_classes': {classes}" }} }}
    """


def inner(name: str, bottom: str, outputs: int) -> str:
    return f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
      inner_product_param {{ num_output: {outputs} weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
    """


def region_head(classes: int) -> str:
    text = """layer { name: "roi_pool5" type: "ROIPooling" bottom: "conv5" bottom: "rois" top: "pool5"
      roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.0625 } }
    """
    return (
        text
        + inner("fc6", "pool5", 12)
        + relu("fc6")
        + inner("cls_score", "fc6", classes)
        + inner("bbox_pred", "fc6", 4 * classes)
    )


def batch() -> dict[str, torch.Tensor]:
    truth = torch.tensor([[20.0, 30, 150, 140, 2], [100, 40, 210, 150, 1]])
    return {"data": torch.randn(1, 3, 160, 224), "im_info": torch.tensor([[160.0, 224, 1]]), "gt_boxes": truth}


def fed(net: Net) -> Net:
    net.data_layers()[0][1].feed(**{name: value.numpy() for name, value in batch().items()})
    return net


def test_faster_rcnn_trains():
    net = build(data_layer(3) + RPN + RPN_LOSS + proposal("rpn_rois") + targets(3) + region_head(3) + """
      layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" propagate_down: 1
        propagate_down: 0 top: "loss_cls" loss_weight: 1 }
      layer { name: "loss_bbox" type: "SmoothL1Loss" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_inside_weights" bottom: "bbox_outside_weights" top: "loss_bbox" loss_weight: 1 }""")  # fmt: skip
    rois = train(fed(net), {}, "rois")
    assert rois.shape[1:] == (5, 1, 1) and len(rois) <= 128


def test_faster_rcnn_tests():
    shapes = inputs(data=(1, 3, 160, 224), im_info=(1, 3))
    net = build(shapes + RPN + proposal("rois") + region_head(3) + """
      layer { name: "cls_prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }""", "TEST")  # fmt: skip
    assert net.blob_shapes[net.blob("rois")] == (1, 5) and net.blob_shapes[net.blob("pool5")] == (1, 8, 3, 3)
    given = {name: value for name, value in batch().items() if name != "gt_boxes"}
    out = net(**given, blobs=["rois", "cls_prob", "bbox_pred"])
    assert len(out["rois"]) == len(out["cls_prob"]) == len(out["bbox_pred"]) > 1
    assert torch.allclose(out["cls_prob"].sum(1), torch.ones(len(out["rois"])))


def position_sensitive(word: str, depth: int, top: str) -> str:
    return (
        conv(f"rfcn_{word}", "conv5", depth * 9, 1)
        + f"""layer {{ bottom: "rfcn_{word}" bottom: "rois"
      top: "psroipooled_{word}_rois" name: "psroipooled_{word}_rois" type: "PSROIPooling"
      psroi_pooling_param {{ spatial_scale: 0.0625 output_dim: {depth} group_size: 3 }} }}
    layer {{ bottom: "psroipooled_{word}_rois" top: "{top}" name: "ave_{top}_rois" type: "Pooling"
      pooling_param {{ pool: AVE kernel_size: 3 stride: 3 }} }}
    """
    )


def test_rfcn_trains_on_hard_examples():
    """Class-agnostic boxes: 2 classes of boxes for 3 of scores."""
    text = data_layer(3) + RPN + RPN_LOSS + proposal("rpn_rois") + targets(2)
    text += position_sensitive("cls", 3, "cls_score") + position_sensitive("loc", 8, "bbox_pred")
    net = build(text + """
      layer { name: "per_roi_loss_cls" type: "SoftmaxWithLossOHEM" bottom: "cls_score" bottom: "labels"
        top: "temp_loss_cls" top: "temp_prob_cls" top: "per_roi_loss_cls" loss_weight: 0 loss_weight: 0 loss_weight: 0
        propagate_down: false propagate_down: false }
      layer { name: "per_roi_loss_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_inside_weights" top: "temp_loss_bbox" top: "per_roi_loss_bbox" loss_weight: 0 loss_weight: 0
        propagate_down: false propagate_down: false propagate_down: false }
      layer { name: "per_roi_loss" type: "Eltwise" bottom: "per_roi_loss_cls" bottom: "per_roi_loss_bbox"
        top: "per_roi_loss" propagate_down: false propagate_down: false }
      layer { bottom: "rois" bottom: "per_roi_loss" bottom: "labels" bottom: "bbox_inside_weights" top: "labels_ohem"
        top: "bbox_loss_weights_ohem" name: "annotator_detector" type: "BoxAnnotatorOHEM"
        box_annotator_ohem_param { roi_per_img: 16 ignore_label: -1 }
        propagate_down: false propagate_down: false propagate_down: false propagate_down: false }
      layer { name: "silence" type: "Silence" bottom: "bbox_outside_weights" bottom: "temp_loss_cls"
        bottom: "temp_prob_cls" bottom: "temp_loss_bbox" }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels_ohem" top: "loss_cls"
        loss_weight: 1 loss_param { ignore_label: -1 } propagate_down: true propagate_down: false }
      layer { name: "accuarcy" type: "Accuracy" bottom: "cls_score" bottom: "labels_ohem" top: "accuarcy"
        accuracy_param { ignore_label: -1 } propagate_down: false propagate_down: false }
      layer { name: "loss_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_loss_weights_ohem" top: "loss_bbox" loss_weight: 1
        loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }
        propagate_down: true propagate_down: false propagate_down: false }""")  # fmt: skip
    labels = train(fed(net), {}, "labels_ohem")
    assert labels.shape[1:] == (1, 1, 1) and (labels >= 0).sum() == 16


def test_the_sample_stands_in_for_images():
    net = build(data_layer(3) + RPN + RPN_LOSS, sample=True)
    assert train(net, {}, "rpn_labels").shape == (1, 1, 9 * 38, 63)


def test_yolo_trains_and_is_evaluated():
    text = inputs(data=(2, 3, 48, 48), label=(2, 30)) + conv("conv13", "data", 4, stride=4) + relu("conv13")
    text += conv("conv20", "conv13", 8, stride=2) + relu("conv20") + """
      layer { name: "reorg" type: "Reorg" bottom: "conv13" top: "reorg" reorg_param { stride: 2 } }
      layer { name: "concat" type: "Concat" bottom: "reorg" bottom: "conv20" top: "concat" }
    """ + conv("out", "concat", 2 * 8, 1)  # fmt: skip
    common = "biases: 1.0 biases: 1.5 biases: 2.0 biases: 0.8"
    text += f"""layer {{ name: "det_loss" type: "RegionLoss" bottom: "out" bottom: "label" top: "det_loss"
      include {{ phase: TRAIN }} region_loss_param {{ side: 6 num_class: 3 coords: 4 num: 2 softmax: 1 jitter: 0.2
      rescore: 1 object_scale: 5.0 noobject_scale: 1.0 class_scale: 1.0 coord_scale: 1.0 absolute: 1 thresh: 0.6
      random: 0 {common} }} }}
    layer {{ name: "eval_det" type: "EvalDetection" bottom: "out" bottom: "label" top: "eval_det"
      include {{ phase: TEST }} eval_detection_param {{ side: 6 num_class: 3 num_object: 2 threshold: 0.5
      score_type: MULTIPLY nms: 0.5 {common} }} }}"""
    label = torch.zeros(2, 6, 5)
    label[:, 0] = torch.tensor([2, 0.5, 0.4, 0.3, 0.6])
    given = {"data": torch.randn(2, 3, 48, 48), "label": label.reshape(2, 30)}
    assert train(build(text), given, "det_loss").shape == ()
    assert build(text, "TEST")(**given)["eval_det"].shape == (2, 3 + 36 * 2 * 4)


def timed(text: str) -> float:
    """The loss of a net whose data layers became inputs, on the values that `netspec time` feeds."""
    built = Net(data_to_input(lower(parse(text, "net"))).graph)
    return built.loss(random_inputs(built))[0].value.item()


def test_nets_run_on_inputs_that_stand_for_their_data():
    """Boxes, regions and labels that noise could not be."""
    rois = 'layer { name: "d" type: "Python" top: "data" top: "rois" python_param { module: "roi_data_layer.layer" '
    rois += 'layer: "RoIDataLayer" } }\n'
    rois += """layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {
        num_output: 2 kernel_size: 9 stride: 16 } }
        layer { name: "r" type: "ROIPooling" bottom: "c" bottom: "rois" top: "r" loss_weight: 1
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }"""
    boxes = """layer { name: "d" type: "AnnotatedData" top: "data" top: "label" data_param { batch_size: 1 }
        transform_param { resize_param { height: 32 width: 32 } } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 16 kernel_size: 3
        stride: 16 } }
        layer { name: "l" type: "RegionLoss" bottom: "c" bottom: "label" top: "l"
        region_loss_param { num: 2 num_class: 3 biases: [1, 1.5, 2, 0.8] } }"""
    labels = """layer { name: "d" type: "ImageSegData" top: "data" top: "label" image_data_param { batch_size: 1 }
        transform_param { crop_size: 16 } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1
        stride: 2 } }
        layer { name: "s" type: "Interp" bottom: "label" top: "s" interp_param { shrink_factor: 2 } }
        layer { name: "l" type: "SoftmaxWithLoss" bottom: "c" bottom: "s" top: "l" }"""
    for text in (rois, boxes, labels):
        assert math.isfinite(timed(text))
