"""Annotated pictures: what is done to pixels and boxes."""

from __future__ import annotations

import colorsys
import random

import numpy as np
import pytest
from google.protobuf import text_format

from netspec import schema
from netspec.data import annotated
from netspec.data.annotated import Annotator, Picture
from netspec.data.transform import Transform
from netspec.errors import LayerError


def param(text: str, message: str = "TransformationParameter"):
    return text_format.Parse(text, schema.new(message))


def picture(height=12, width=16) -> Picture:
    pixels = np.random.randint(0, 256, (height, width, 3)).astype(np.uint8)
    boxes = np.array([[0.25, 0.25, 0.5, 0.75], [0.75, 0.5, 1.0, 1.0]])
    return Picture(pixels, boxes, np.array([[1.0, 0, 0], [2, 1, 1]]))


def apply(text: str, one: Picture, samplers=(), train=True, key="k", **plain) -> Picture:
    samplers = [param(s, "BatchSampler") for s in samplers]
    return Annotator(param(text), samplers, Transform(train=train, **plain))(one, key, "record")


def test_nothing_is_done():
    one = picture()
    out = apply("", one, mean_values=(1.0, 2.0, 3.0), scale=0.5)
    assert np.allclose(out.pixels, (one.pixels.transpose(2, 0, 1) - np.array([1, 2, 3])[:, None, None]) / 2)
    assert np.array_equal(out.boxes, one.boxes) and np.array_equal(out.marks, one.marks)


def test_mirror_turns_boxes_too():
    one = picture()
    keys = {apply("mirror: true", one, key=str(k)).pixels.tobytes() for k in range(20)}
    assert len(keys) == 2
    for k in range(20):
        out = apply("mirror: true", one, key=str(k))
        if not np.array_equal(out.pixels, one.pixels.transpose(2, 0, 1)):
            assert np.array_equal(out.pixels, one.pixels.transpose(2, 0, 1)[:, :, ::-1])
            assert np.allclose(out.boxes, [[0.5, 0.25, 0.75, 0.75], [0, 0.5, 0.25, 1]])
            return


def test_crop_in_the_centre_cuts_boxes():
    one = picture()
    out = apply("crop_h: 6 crop_w: 8", one, train=False)
    assert np.array_equal(out.pixels, one.pixels.transpose(2, 0, 1)[:, 3:9, 4:12])
    assert np.allclose(out.boxes, [[0, 0, 0.5, 1]]) and out.marks.tolist() == [[1, 0, 0]]
    with pytest.raises(LayerError, match="a crop of 20 x 20 exceeds record of 12 x 16 x 3"):
        apply("crop_size: 20", one)


def test_mean_image_is_cropped_at_the_same_place():
    one = picture()
    mean = np.arange(3 * 12 * 16, dtype=np.float32).reshape(3, 12, 16)
    out = apply("crop_size: 6", one, train=False, mean=mean)
    assert np.allclose(out.pixels, (one.pixels.transpose(2, 0, 1) - mean)[:, 3:9, 5:11])


def test_emit_constraint():
    one = picture()
    text = "crop_h: 6 crop_w: 4 emit_constraint { emit_type: %s }"
    inside = apply(text % "CENTER", one, train=False)
    assert len(inside.boxes) == 1
    half = apply(text % "MIN_OVERLAP emit_overlap: 0.49", one, train=False)
    assert len(half.boxes) == 1
    assert not len(apply(text % "MIN_OVERLAP emit_overlap: 0.51", one, train=False).boxes)


def test_expand_puts_the_picture_somewhere_on_the_mean():
    one = picture()
    out = apply("expand_param { prob: 1 max_expand_ratio: 3 } mean_value: 104.4 mean_value: 117 mean_value: 123", one)
    height, width = out.pixels.shape[1:]
    assert height >= 12 and width >= 16 and (height, width) != (12, 16)
    x1, y1, x2, y2 = (out.boxes[0] * [width, height, width, height]).round(6)
    assert (x2 - x1, y2 - y1) == (4, 6)
    top, left = round(y1) - 3, round(x1) - 4
    inside = out.pixels[:, top : top + 12, left : left + 16]
    assert np.array_equal(inside, one.pixels.transpose(2, 0, 1))
    rest = np.ones((height, width), bool)
    rest[top : top + 12, left : left + 16] = False
    assert (out.pixels[:, rest] == np.array([104, 117, 123])[:, None]).all()


def test_resize_modes():
    one = picture()
    warp = apply("resize_param { prob: 1 resize_mode: WARP height: 24 width: 20 }", one)
    assert warp.pixels.shape == (3, 24, 20) and np.allclose(warp.boxes, one.boxes)
    small = apply("resize_param { resize_mode: FIT_SMALL_SIZE height: 24 width: 20 }", one)
    assert small.pixels.shape == (3, 24, 32) and np.allclose(small.boxes, one.boxes)
    fit = "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 24 width: 16 pad_value: [1, 2, 3] }"
    large = apply(fit, one)
    assert large.pixels.shape == (3, 24, 16)
    assert (large.pixels[:, :6] == np.array([1, 2, 3])[:, None, None]).all()
    assert np.array_equal(large.pixels[:, 6:18], one.pixels.transpose(2, 0, 1))
    assert np.allclose(large.boxes[0], [0.25, 0.375, 0.5, 0.625])


@pytest.mark.parametrize("mode", ["LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"])
def test_interpolation_keeps_a_plain_picture_plain(mode):
    one = Picture(np.full((8, 8, 3), 77, np.uint8), np.zeros((0, 4)), np.zeros((0, 3)))
    out = apply(f"resize_param {{ height: 5 width: 13 interp_mode: {mode} }}", one)
    assert out.pixels.shape == (3, 5, 13) and (out.pixels == 77).all()


def test_batch_sampler_keeps_its_constraint():
    one = picture(60, 80)
    sampler = "max_sample: 1 max_trials: 200 sampler { min_scale: 0.3 max_scale: 0.9 "
    sampler += "min_aspect_ratio: 0.5 max_aspect_ratio: 2 }"
    for k in range(20):
        draw = random.Random(k)
        limit = param(sampler + " sample_constraint { min_jaccard_overlap: 0.3 }", "BatchSampler")
        (region,) = annotated.sampled(limit, one.boxes, draw)
        assert (region >= 0).all() and (region <= 1).all() and (region[2:] > region[:2]).all()
        x = np.maximum(np.minimum(region[2:], one.boxes[:, 2:]) - np.maximum(region[:2], one.boxes[:, :2]), 0).prod(1)
        areas = (one.boxes[:, 2:] - one.boxes[:, :2]).prod(1) + (region[2:] - region[:2]).prod() - x
        assert (x / areas).max() >= 0.3
    out = apply("", one, [sampler + " sample_constraint { min_object_coverage: 1 }"])
    assert out.pixels.shape[1] < 60 and len(out.boxes) >= 1
    whole = apply("", one, [sampler + " sample_constraint { min_jaccard_overlap: 0.999 }"])
    assert whole.pixels.shape == (3, 60, 80)
    assert not annotated.sampled(param("use_original_image: false", "BatchSampler"), one.boxes, random.Random(0))


def test_the_key_decides():
    text = (
        "mirror: true crop_size: 4 distort_param { brightness_prob: 1 brightness_delta: 32 hue_prob: 1 hue_delta: 18 }"
    )
    one = picture()
    assert np.array_equal(apply(text, one, key="a").pixels, apply(text, one, key="a").pixels)
    assert not np.array_equal(apply(text, one, key="a").pixels, apply(text, one, key="b").pixels)


def test_hsv_is_that_of_the_books():
    pixels = np.random.randint(0, 256, (20, 20, 3)).astype(np.uint8)
    hue, saturation, value = annotated.to_hsv(pixels)
    want = np.array([colorsys.rgb_to_hsv(*(p[::-1] / 255)) for p in pixels.reshape(-1, 3)])
    turned = np.abs(hue.ravel() - want[:, 0] * 180)
    assert np.minimum(turned, 180 - turned).max() <= 0.5001
    assert np.abs(saturation.ravel() - want[:, 1] * 255).max() <= 0.5001
    assert np.allclose(value.ravel(), want[:, 2] * 255)
    back = annotated.from_hsv(hue, saturation, value)
    assert np.abs(back.astype(int) - pixels).max() <= 4


def test_distortions():
    one = np.random.randint(0, 256, (6, 6, 3)).astype(np.uint8)
    assert np.array_equal(annotated.brighten(one, 10.4), np.minimum(one.astype(int) + 10, 255))
    assert np.array_equal(annotated.stretch(one, 2.0), np.minimum(one.astype(int) * 2, 255))
    assert (np.ptp(annotated.saturate(one, 0.0), 2) == 0).all()
    red = np.array([[[0, 0, 255]]], np.uint8)
    assert annotated.turn(red, 60.0).tolist() == [[[0, 255, 0]]]
    order = annotated.distort(one, param("random_order_prob: 1", "DistortionParameter"), random.Random(3))
    assert np.array_equal(np.sort(order, 2), np.sort(one, 2))


def test_noise():
    one = np.random.randint(0, 256, (16, 16, 3)).astype(np.uint8)

    def noisy(text):
        return annotated.noise(one, param(text, "NoiseParameter"), random.Random(0))

    assert np.array_equal(noisy("inverse: true"), 255 - one)
    assert (np.ptp(noisy("decolorize: true"), 2) == 0).all()
    assert set(noisy("posterize: true").ravel().tolist()) == {32, 96, 160, 224}
    assert (noisy("erode: true") <= one).all()
    assert noisy("gauss_blur: true").std() < one.std()
    assert noisy("jpeg: 90").shape == one.shape
    assert noisy("hist_eq: true").shape == one.shape
    pepper = noisy("saltpepper: true saltpepper_param { fraction: 0.1 value: 0 value: 1 value: 2 }")
    changed = (pepper != one).any(2)
    assert 0 < changed.sum() <= 25 and (pepper[changed] == [0, 1, 2]).all()


BAD = [
    ("resize_param { height: 3 }", "", "height and width must be above 0"),
    ("resize_param { height: 3 width: 3 height_scale: 3 }", "", "height_scale and width_scale are not supported"),
    ("noise_param { clahe: true }", "", "clahe is not supported"),
    ("expand_param { max_expand_ratio: 0.5 }", "", "max_expand_ratio must be 1 to 1000"),
    ("", "sampler { max_scale: 2 }", "scales must be above 0, up to 1"),
    ("", "sampler { min_aspect_ratio: 2 }", "the least first"),
]


@pytest.mark.parametrize(("text", "sampler", "message"), BAD)
def test_refused(text, sampler, message):
    with pytest.raises(LayerError, match=message):
        apply(text, picture(), [sampler] if sampler else ())
