"""Image files to H x W x C uint8 in blue, green, red, with the values that OpenCV's imread, cvtColor and resize give.

Pixels 0..255. Grey is 0.299 R + 0.587 G + 0.114 B in fixed point; how it is rounded depends on the kind of file, since
OpenCV leaves the conversion to the decoder: PNG truncates 15-bit weights, JPEG takes the luma as stored, the others
round 14-bit weights.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from netspec.data.dataset import reading
from netspec.errors import SpecError

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS = 11  # of the fixed-point weights of `resize`


def decode(file: Path | bytes, color: bool | None, where: Any) -> np.ndarray:
    """An image file, or the bytes of one, as H x W x C.

    `color` True gives 3 channels, False 1, None as many as the file has (1, 3, or 4 with alpha). `where` names the
    file in errors.
    """

    def read() -> np.ndarray:
        try:
            with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
                return _native(image) if color is None else _bgr(_upright(image)) if color else _grey(image)
        except UnidentifiedImageError:
            raise SpecError(f"{where} is no image that can be decoded") from None

    return reading(where, read)


def _native(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        raise SpecError(f"the image has mode {image.mode}; 8 bits per channel are wanted")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, None]
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
    return _bgr(image)


def _bgr(image: Image.Image) -> np.ndarray:
    rgb = _eight_bits(image).convert("RGB")
    return np.frombuffer(rgb.tobytes("raw", "BGR"), np.uint8).reshape(rgb.height, rgb.width, 3)


def _grey(image: Image.Image) -> np.ndarray:
    kind = image.format
    if kind == "JPEG":
        image.draft("L", image.size)
    image = _eight_bits(_upright(image))
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[:, :, None]
    red, green, blue = np.asarray(image.convert("RGB")).astype(np.int32).transpose(2, 0, 1)
    if kind == "PNG":
        grey = (9798 * red + 19235 * green + 3735 * blue) >> 15
    else:
        grey = (4899 * red + 9617 * green + 1868 * blue + (1 << 13)) >> 14
    return grey.astype(np.uint8)[:, :, None]


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its high byte."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise SpecError("the image holds floating-point values; 8 or 16 bits per channel are wanted")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data say."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data say nothing
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear in fixed point, uint8 H x W x C -> height x width x C; pixel centres correspond, nothing is smoothed.

    top(y, x) mixes the two rows and the two columns beside ((y + 1/2) H / height - 1/2, (x + 1/2) W / width - 1/2).
    Exactly half the size is the rounded mean of 2 x 2 blocks. Source: OpenCV's INTER_LINEAR for 8-bit images.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    channels = pixels.shape[2]
    if pixels.shape[:2] == (2 * height, 2 * width):
        whole = pixels.astype(np.int32)
        blocks = whole[0::2, 0::2] + whole[1::2, 0::2] + whole[0::2, 1::2] + whole[1::2, 1::2]
        return ((blocks + 2) >> 2).astype(np.uint8)
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    *columns, near, far = (np.repeat(a, channels) for a in _columns(pixels.shape[1], width))
    left, right = (c * channels + np.tile(np.arange(channels), width) for c in columns)
    rows = _mix(flat.take(left, 1).astype(np.int32), flat.take(right, 1).astype(np.int32), near, far, 0) >> 4
    above, below, near, far = _rows(len(pixels), height)
    mixed = _mix(rows.take(above, 0), rows.take(below, 0), near[:, None], far[:, None], 16) + 2
    return (mixed >> 2).astype(np.uint8).reshape(height, width, channels)


def _mix(a: np.ndarray, b: np.ndarray, near: np.ndarray, far: np.ndarray, shift: int) -> np.ndarray:
    """near a + far b, each product shifted right; in the memory of a and b, since images are large."""
    a *= near
    b *= far
    a >>= shift
    b >>= shift
    a += b
    return a


def _columns(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Beyond the outermost centres only the outermost column counts."""
    start, part = _split(size, wanted)
    part[(start < 0) | (start >= size - 1)] = 0
    start = start.clip(0, size - 1)
    return start, (start + 1).clip(max=size - 1), *_weights(part)


def _rows(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Beyond the outermost centres the outermost row counts twice, each with its weight: it rounds differently."""
    start, part = _split(size, wanted)
    return start.clip(0, size - 1), (start + 1).clip(0, size - 1), *_weights(part)


def _split(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in the source as whole number and rest."""
    place = ((np.arange(wanted) + 0.5) * (1.0 / (wanted / size)) - 0.5).astype(np.float32)
    start = np.floor(place)
    return start.astype(np.int64), place - start


def _weights(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = np.float32(1 << BITS)
    return np.rint((1 - part) * one).astype(np.int32), np.rint(part * one).astype(np.int32)
