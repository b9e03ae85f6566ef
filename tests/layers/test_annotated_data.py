"""AnnotatedData reads an LMDB of annotated records."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netspec import schema
from netspec.data.database import write_database
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec.text import parse


def record(image: np.ndarray, boxes: list[tuple], type: bool = True, label: int = 0) -> bytes:
    """`boxes`: class, instance, xmin, ymin, xmax, ymax, difficult."""
    out = schema.new("AnnotatedDatum")
    out.datum.channels, out.datum.height, out.datum.width = image.shape
    out.datum.data, out.datum.label = image.tobytes(), label
    if type:
        out.type = 0
    for group_label, instance, *corners, difficult in boxes:
        one = out.annotation_group.add(group_label=group_label).annotation.add(instance_id=instance)
        one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax = corners
        one.bbox.difficult = difficult
    return out.SerializeToString()


def database(tmp_path, records: list[bytes]) -> None:
    write_database(tmp_path / "db", [(f"{i:08d}".encode(), r) for i, r in enumerate(records)])


def build(tmp_path, settings: str = "", batch: int = 2, tops: str = 'top: "data" top: "label"', **context) -> Net:
    text = f"""layer {{ name: "d" type: "AnnotatedData" {tops} {settings}
    data_param {{ source: "db" batch_size: {batch} backend: LMDB }} }}"""
    return Net(lower(parse(text, "net.prototxt")), Context(folder=tmp_path, seed=1, **context))


IMAGES = [np.random.RandomState(i).randint(0, 256, (3, 6, 8)).astype(np.uint8) for i in range(3)]
BOXES = [[(1, 0, 0.25, 0.25, 0.5, 0.5, False), (4, 1, 0.5, 0.5, 1, 1, True)], [], [(2, 0, 0, 0, 1, 1, False)]]


def test_images_and_rows(tmp_path):
    database(tmp_path, [record(i, b) for i, b in zip(IMAGES, BOXES, strict=True)])
    net = build(tmp_path, "transform_param { mean_value: 10 scale: 0.5 } annotated_data_param { label_map_file: 'x' }")
    first, second, third = net(), net(), net()
    assert torch.equal(first["data"], (torch.tensor(np.stack(IMAGES[:2])).float() - 10) / 2)
    assert first["label"].shape == (1, 1, 2, 8)
    want = [[0, 1, 0, 0.25, 0.25, 0.5, 0.5, 0], [0, 4, 1, 0.5, 0.5, 1, 1, 1]]
    assert first["label"][0, 0].tolist() == want
    assert second["label"][0, 0].tolist() == [[0, 2, 0, 0, 0, 1, 1, 0], *[[1, *row[1:]] for row in want]]
    assert third["label"][0, 0].tolist() == [[1, 2, 0, 0, 0, 1, 1, 0]]


def test_a_batch_without_a_box(tmp_path):
    database(tmp_path, [record(IMAGES[0], [])])
    assert build(tmp_path)()["label"].tolist() == [[[[-1.0] * 8]]]


def test_labels_of_records_without_boxes(tmp_path):
    database(tmp_path, [record(i, [], False, 7 + n) for n, i in enumerate(IMAGES)])
    assert build(tmp_path)()["label"].tolist() == [7, 8]
    typed = build(tmp_path, "annotated_data_param { anno_type: BBOX }")
    assert typed()["label"].tolist() == [[[[-1.0] * 8]]]
    assert list(build(tmp_path, tops='top: "data"')()) == ["data"]


def test_ssd_training_settings(tmp_path):
    """As SSD's model files have them; sizes and boxes stay sound, and a run can be repeated."""
    database(tmp_path, [record(np.repeat(np.repeat(i, 9, 1), 9, 2), b) for i, b in zip(IMAGES, BOXES, strict=True)])
    settings = """transform_param { mirror: true mean_value: 104 mean_value: 117 mean_value: 123
      resize_param { prob: 1 resize_mode: WARP height: 30 width: 30 interp_mode: LINEAR interp_mode: AREA
        interp_mode: NEAREST interp_mode: CUBIC interp_mode: LANCZOS4 } emit_constraint { emit_type: CENTER }
      distort_param { brightness_prob: 0.5 brightness_delta: 32 contrast_prob: 0.5 contrast_lower: 0.5
        contrast_upper: 1.5 hue_prob: 0.5 hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.5
        saturation_upper: 1.5 random_order_prob: 0.0 } expand_param { prob: 0.5 max_expand_ratio: 4 } }
    annotated_data_param { batch_sampler { max_sample: 1 max_trials: 1 } batch_sampler { sampler { min_scale: 0.3
      max_scale: 1.0 min_aspect_ratio: 0.5 max_aspect_ratio: 2.0 } sample_constraint { min_jaccard_overlap: 0.1 }
      max_sample: 1 max_trials: 50 } label_map_file: "labelmap_voc.prototxt" }"""
    runs = []
    for _ in range(2):
        net = build(tmp_path, settings, 4)
        runs.append([net() for _ in range(5)])
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a["data"], b["data"]) and torch.equal(a["label"], b["label"])
        assert a["data"].shape == (4, 3, 30, 30)
        rows = a["label"][0, 0]
        assert ((rows[:, 3:7] >= 0) & (rows[:, 3:7] <= 1)).all() and (rows[:, 5:7] > rows[:, 3:5]).all()


@pytest.mark.parametrize(
    ("records", "settings", "message"),
    [
        ([b"\xff\xff"], "", "is no AnnotatedDatum"),
        ([record(IMAGES[0], []), record(IMAGES[1], [], False)], "", "records with boxes and records without"),
        ([record(IMAGES[0], []), record(IMAGES[1][:, :5], [])], "", "the batch began with [3, 6, 8]"),
        ([record(IMAGES[0], [])], "transform_param { crop_size: 9 }", "a crop of 9 x 9 exceeds"),
        ([record(IMAGES[0], [])], "transform_param { resize_param { height: 2 } }", "height and width must be above 0"),
        ([record(IMAGES[0], [])], "transform_param { pad: 2 }", "pad is not honoured by AnnotatedData"),
    ],
)
def test_refused(tmp_path, records, settings, message):
    database(tmp_path, records)
    with pytest.raises(SpecError) as caught:
        build(tmp_path, settings)()
    assert message in str(caught.value) and "layer 'd' (AnnotatedData)" in str(caught.value)
    assert str(caught.value).startswith("net.prototxt:")
