"""transform_param: crop, mean, scale, mirror, in Caffe's order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from netspec import schema
from netspec.data.transform import Transform, make, read_mean
from netspec.errors import LayerError, SpecError
from netspec.spec import binary

PIXELS = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6)


def test_nothing_asked_nothing_done():
    out = Transform()(PIXELS, "k", "x")
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, PIXELS)


def test_centre_crop_rounds_down():
    np.testing.assert_array_equal(Transform(crop=4)(PIXELS, "k", "x"), PIXELS[:, 0:4, 1:5])


def test_mean_before_scale():
    out = Transform(scale=0.5, mean_values=(10, 20))(PIXELS, "k", "x")
    np.testing.assert_array_equal(out, (PIXELS - np.array([10.0, 20.0])[:, None, None]) * 0.5)


def test_one_mean_value_for_all_channels():
    np.testing.assert_array_equal(Transform(mean_values=(3,))(PIXELS, "k", "x"), PIXELS - 3.0)


def test_mean_image_is_cropped_and_mirrored_with_the_pixels():
    transform = Transform(mirror=True, crop=3, mean=PIXELS.astype(np.float32), train=True)
    for k in range(20):
        assert not transform(PIXELS, str(k), "x").any()


def test_random_crops_and_mirrors_reach_everything():
    transform = Transform(mirror=True, crop=4, train=True)
    seen = {transform(PIXELS, f"7 {k}", "x").tobytes() for k in range(300)}
    views = [PIXELS[:, y : y + 4, x : x + 4] for y in range(2) for x in range(3)]
    assert seen == {v.astype(np.float32).tobytes() for view in views for v in (view, view[:, :, ::-1])}


def test_random_crops_and_mirrors_are_as_likely():
    """Every offset and both sides, by a χ² test over 12 equally likely outcomes."""
    transform = Transform(mirror=True, crop=4, train=True)
    drawn = [transform(PIXELS, f"3 {k}", "x").tobytes() for k in range(6000)]
    counts = np.array(list(Counter(drawn).values()))
    assert len(counts) == 12
    assert ((counts - 500) ** 2 / 500).sum() < 24.7  # 1 % of fair draws exceed it, with 11 degrees of freedom


def test_a_key_decides():
    transform = Transform(mirror=True, crop=2, train=True)
    for k in range(20):
        np.testing.assert_array_equal(transform(PIXELS, str(k), "x"), transform(PIXELS, str(k), "x"))


def test_mirror_acts_in_test_too():
    outs = {Transform(mirror=True)(PIXELS, str(k), "x").tobytes() for k in range(20)}
    assert len(outs) == 2


@pytest.mark.parametrize(
    ("transform", "field", "message"),
    [
        (Transform(crop=6), "crop_size", "crop_size 6 exceeds x of 2 x 5 x 6"),
        (
            Transform(mean=np.zeros((2, 4, 6), np.float32)),
            "mean_file",
            "the mean image is 2 x 4 x 6, but x is 2 x 5 x 6",
        ),
        (Transform(mean_values=(1, 2, 3)), "mean_value", "3 mean values for 2 channels; give one, or one per channel"),
    ],
)
def test_misfits(transform, field, message):
    with pytest.raises(LayerError) as caught:
        transform(PIXELS, "k", "x")
    assert (caught.value.field, caught.value.message) == (f"transform_param.{field}", message)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num": 1, "channels": 2, "height": 3, "width": 4},
        {"shape": {"dim": [2, 3, 4]}},
        {"shape": {"dim": [1, 2, 3, 4]}},
    ],
)
@pytest.mark.parametrize("values", ["data", "double_data"])
def test_mean_files(sizes, values, tmp_path):
    binary.write(tmp_path / "mean", schema.new("BlobProto", **sizes, **{values: range(24)}))
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize("sizes", [{"shape": {"dim": [2**40, 2**40, 1]}}, {}, {"shape": {"dim": [2, 12]}}])
def test_damaged_mean_files(sizes, tmp_path):
    binary.write(tmp_path / "mean", schema.new("BlobProto", **sizes, data=range(24)))
    with pytest.raises(SpecError, match="is no mean image: 24 values of shape"):
        read_mean(tmp_path / "mean")


def test_make_finds_the_mean_file(tmp_path):
    binary.write(tmp_path / "mean", schema.new("BlobProto", num=1, channels=2, height=5, width=6, data=[1] * 60))
    param = schema.new("TransformationParameter", mean_file="mean", scale=2)
    out = make(param, False, lambda name, what: tmp_path / name)(PIXELS, "k", "x")
    np.testing.assert_array_equal(out, (PIXELS - 1.0) * 2)
