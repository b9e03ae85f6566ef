"""The sizes that fields of forks give a picture before it is cropped."""

from __future__ import annotations

import numpy as np
import pytest

from netspec import schema
from netspec.data import resizing
from netspec.data.images import resize as bilinear
from netspec.data.transform import Transform
from netspec.errors import LayerError, SpecError
from netspec.spec import text

PIXELS = np.random.default_rng(5).integers(0, 256, (3, 40, 60), dtype=np.uint8)
BIG = np.random.default_rng(6).integers(0, 256, (1, 100, 100), dtype=np.uint8)


def param(settings: str):
    return text.parse(settings, "net", "TransformationParameter").message


def sizes(settings: str, pixels: np.ndarray = PIXELS, draws: int = 300) -> set[tuple[int, ...]]:
    resize = resizing.make(param(settings))
    assert resize is not None
    return {resize(pixels, str(k), "x").shape[1:] for k in range(draws)}


def test_nothing_asked() -> None:
    assert resizing.make(param("crop_size: 3 mirror: true scale: 2")) is None


def test_shorter_side_at_random() -> None:
    """Intel's: 1.5 times the shorter side, rounded down."""
    assert sizes("crop_size: 8 random_resize_param { min_size: 10 max_size: 14 }") == {
        (n, int(1.5 * n)) for n in range(10, 15)
    }
    assert sizes("crop_size: 8 random_resize_param {}", draws=2000) == {(n, int(1.5 * n)) for n in range(40, 61)}
    turned = sizes("crop_size: 8 random_resize_param { min_size: 10 max_size: 10 }", PIXELS.transpose(0, 2, 1))
    assert turned == {(15, 10)}


def test_a_set_size_is_a_resize() -> None:
    resize = resizing.make(param("crop_size: 8 random_resize_param { min_size: 20 max_size: 20 }"))
    want = bilinear(PIXELS.transpose(1, 2, 0), 20, 30).transpose(2, 0, 1)
    np.testing.assert_array_equal(resize(PIXELS, "k", "x"), want)


def test_random_parts_become_the_crop() -> None:
    settings = "crop_size: 16 random_aspect_ratio_param { min_area_ratio: 0.1 aspect_ratio_change: 0.75 }"
    assert sizes(settings) == {(16, 16)}
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8), (1, 100, 100))
    resize = resizing.make(param(settings))
    spans = [np.ptp(resize(ramp, str(k), "x").astype(int)[0, 0]) for k in range(400)]
    assert 20 < min(spans) < 35 and 85 < max(spans) <= 99


def test_parts_that_never_fit() -> None:
    settings = "crop_size: 16 random_aspect_ratio_param { min_area_ratio: 1 max_area_ratio: 1 max_attempt: 3 }"
    assert sizes(settings) == {(16, 24)}


def test_nvidias_shorter_side() -> None:
    assert sizes("img_rand_resize_lower: 10 img_rand_resize_upper: 12") == {(10, 15), (11, 17), (12, 18)}
    assert sizes("img_rand_resize_lower: 80 img_rand_resize_upper: 80") == {(40, 60)}
    assert sizes("img_rand_resize_lower: 80 img_rand_resize_upper: 80 allow_upscale: true") == {(80, 120)}
    assert sizes("crop_size: 30 img_rand_resize_lower: 10 img_rand_resize_upper: 10") == {(30, 30)}


def test_nvidias_stretching() -> None:
    stretched = sizes("vertical_stretch_lower: 0.5 vertical_stretch_upper: 0.9 horizontal_stretch_upper: 1")
    assert {h for h, _ in stretched} <= set(range(20, 37)) and len(stretched) > 10
    assert {w for _, w in stretched} == {60}
    ratios = sizes("allow_upscale: true rand_resize_ratio_lower: 2 rand_resize_ratio_upper: 2")
    assert ratios == {(40, 80)}
    assert sizes("allow_upscale: true rand_resize_ratio_lower: 2 rand_resize_ratio_upper: 2", BIG) == {
        (100, 200),
        (200, 100),
    }


@pytest.mark.parametrize(("size", "way"), [(20, "down"), (80, "up")])
def test_nvidias_algorithms(size: int, way: str) -> None:
    made = {}
    for name in ("INTER_NEAREST", "INTER_LINEAR", "INTER_CUBIC", "INTER_AREA"):
        settings = f"img_rand_resize_lower: {size} img_rand_resize_upper: {size} allow_upscale: true"
        made[name] = resizing.make(param(f"{settings} interpolation_algo_{way}: {name}"))(PIXELS, "k", "x")
    np.testing.assert_array_equal(
        made["INTER_LINEAR"], bilinear(PIXELS.transpose(1, 2, 0), size, size * 3 // 2).transpose(2, 0, 1)
    )
    assert set(made["INTER_NEAREST"].ravel()) <= set(PIXELS.ravel())
    ways = {pixels.tobytes() for pixels in made.values()}
    assert len(ways) == (4 if way == "down" else 3)  # twice the size, an area is one pixel


def test_resize_then_crop_and_mean() -> None:
    settings = param("crop_size: 10 resize_param { height: 20 width: 20 }")
    transform = Transform(crop=10, mean_values=(1,), resize=resizing.make(settings))
    want = bilinear(PIXELS.transpose(1, 2, 0), 20, 20).transpose(2, 0, 1)[:, 5:15, 5:15] - 1.0
    np.testing.assert_array_equal(transform(PIXELS, "k", "x"), want)


def test_a_key_decides() -> None:
    resize = resizing.make(param("crop_size: 9 random_aspect_ratio_param {}"))
    np.testing.assert_array_equal(resize(PIXELS, "a", "x"), resize(PIXELS, "a", "x"))
    assert not np.array_equal(resize(PIXELS, "a", "x"), resize(PIXELS, "b", "x"))


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ("random_resize_param { min_size: 3 }", "random_resize_param", "wants a crop_size"),
        ("random_aspect_ratio_param {}", "random_aspect_ratio_param", "wants a crop_size"),
        ("random_resize_param { min_size: 3 max_size: 2 }", "random_resize_param.min_size", "3 is not in 0..2"),
        ("random_aspect_ratio_param { max_area_ratio: 0.2 }", "random_aspect_ratio_param.min_area_ratio", "0.5 is not"),
        (
            "random_aspect_ratio_param { aspect_ratio_change: 0 }",
            "random_aspect_ratio_param",
            "ratios must be above 0",
        ),
        (
            "random_aspect_ratio_param { aspect_ratio_change: 2 }",
            "random_aspect_ratio_param.aspect_ratio_change",
            "0..1",
        ),
        ("img_rand_resize_lower: 5 img_rand_resize_upper: 4", "img_rand_resize_lower", "5 is not in 0..4"),
        ("vertical_stretch_lower: 2", "vertical_stretch_lower", "2 is not in 0..1"),
        ("resize_param { height: 5 }", "resize_param", "height and width must be above 0"),
    ],
)
def test_refused(settings: str, field: str, message: str) -> None:
    crop = "" if "crop_size" in message else "crop_size: 2 "
    with pytest.raises(LayerError, match=message) as caught:
        resizing.check(param(crop + settings))
    assert caught.value.field == f"transform_param.{field}"


def test_floats_are_not_resized() -> None:
    with pytest.raises(SpecError, match="record 1 holds numbers of other than 8 bits"):
        resizing.make(param("resize_param { height: 5 width: 5 }"))(PIXELS.astype(np.float32), "k", "record 1")


def test_fields_are_of_the_schema() -> None:
    assert set(resizing.FIELDS) <= set(schema.new("TransformationParameter").DESCRIPTOR.fields_by_name)
