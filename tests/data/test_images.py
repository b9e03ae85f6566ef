"""Image files as OpenCV reads, greys and resizes them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from golden_data import arrays, golden
from PIL import Image

from netspec.data.images import decode, resize
from netspec.errors import SpecError

NAMES = ("a.png", "b c.png", "dir/c.png", "d.png")


def file(pixels: np.ndarray, kind: str = "PNG", **settings) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **settings)
    return out.getvalue()


def random(*shape: int) -> np.ndarray:
    return np.random.randint(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("number", range(4))
def test_resize_is_opencvs_to_the_last_bit(number):
    folder = golden("files") / "data"
    stored = arrays(folder / "datums.npz")
    pixels = decode(folder / "images" / NAMES[number], True, NAMES[number])
    np.testing.assert_array_equal(pixels.transpose(2, 0, 1), stored[f"raw.{number}"])
    np.testing.assert_array_equal(resize(pixels, 8, 10).transpose(2, 0, 1), stored[f"resize.{number}"])
    small = decode(stored[f"encoded_resize.{number}"].tobytes(), True, "stored")
    np.testing.assert_array_equal(resize(pixels, 6, 7), small)


@pytest.mark.parametrize("number", range(2))
def test_grey_of_a_png_is_opencvs_to_the_last_bit(number):
    folder = golden("files") / "data"
    grey = decode(folder / "images" / NAMES[number], False, NAMES[number])
    np.testing.assert_array_equal(grey.transpose(2, 0, 1), arrays(folder / "datums.npz")[f"gray.{number}"])


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (3, 20), (30, 2)])
def test_resize_stays_near_real_arithmetic(size):
    pixels = random(9, 8, 3)
    y, x = (((np.arange(n) + 0.5) * m / n - 0.5).clip(0, m - 1) for n, m in zip(size, (9, 8), strict=True))
    below, right = np.minimum(y.astype(int) + 1, 8), np.minimum(x.astype(int) + 1, 7)
    v, u = (y % 1)[:, None, None], (x % 1)[None, :, None]
    rows = (1 - v) * pixels[y.astype(int)] + v * pixels[below]
    want = (1 - u) * rows[:, x.astype(int)] + u * rows[:, right]
    assert np.abs(resize(pixels, *size) - want).max() < 1.01


def test_half_size_is_the_mean_of_blocks():
    pixels = random(6, 8, 1)
    want = (pixels.reshape(3, 2, 4, 2).astype(int).sum((1, 3)) + 2) // 4
    np.testing.assert_array_equal(resize(pixels, 3, 4)[:, :, 0], want)


def test_channels_are_blue_green_red():
    pixels = random(4, 5, 3)
    np.testing.assert_array_equal(decode(file(pixels), True, "x"), pixels[:, :, ::-1])
    np.testing.assert_array_equal(decode(file(pixels), None, "x"), pixels[:, :, ::-1])


def test_grey_files():
    pixels = random(4, 5)
    np.testing.assert_array_equal(decode(file(pixels), False, "x"), pixels[:, :, None])
    np.testing.assert_array_equal(decode(file(pixels), None, "x"), pixels[:, :, None])
    np.testing.assert_array_equal(decode(file(pixels), True, "x"), np.stack([pixels] * 3, 2))


def test_sixteen_bits_keep_the_high_byte():
    pixels = np.random.randint(0, 65536, (4, 5)).astype(np.uint16)
    np.testing.assert_array_equal(decode(file(pixels), False, "x")[:, :, 0], pixels >> 8)
    with pytest.raises(SpecError, match="8 bits per channel are wanted"):
        decode(file(pixels), None, "x")


def test_alpha_is_dropped_or_kept():
    pixels = random(4, 5, 4)
    np.testing.assert_array_equal(decode(file(pixels), True, "x"), pixels[:, :, 2::-1])
    np.testing.assert_array_equal(decode(file(pixels), None, "x"), pixels[:, :, [2, 1, 0, 3]])


def test_grey_of_a_jpeg_is_its_luma():
    data = file(resize(random(4, 4, 3), 16, 16), "JPEG", quality=95)
    luma = np.asarray(Image.open(BytesIO(data)).convert("YCbCr"))[:, :, 0]
    assert np.abs(decode(data, False, "x")[:, :, 0].astype(int) - luma).max() <= 1


def test_grey_of_a_bitmap_is_rounded():
    red, green, blue = (pixels := random(4, 5, 3)).astype(float).transpose(2, 0, 1)
    want = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(decode(file(pixels, "BMP"), False, "x")[:, :, 0] - want).max() < 0.52


def test_exif_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    turned = decode(file(pixels, "JPEG", exif=exif), True, "x")
    assert turned.shape == (32, 16, 3) and turned[:15].min() > 200 and turned[17:].max() < 50


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no image", "x is no image that can be decoded"),
        (b"", "x is no image that can be decoded"),
        (file(np.zeros((50, 50, 3), np.uint8))[:60], "x cannot be read: "),
        (file(np.zeros((50, 50, 3), np.uint8), "JPEG")[:300], "x "),
    ],
)
def test_bad_images(data, message):
    with pytest.raises(SpecError) as caught:
        decode(data, True, "x")
    assert caught.value.message.startswith(message)
    assert "\n" not in str(caught.value)
