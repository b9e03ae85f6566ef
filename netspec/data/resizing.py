"""The sizes that fields of forks give a picture before it is cropped: Intel's, then NVIDIA's, then SSD's resize_param.

Whatever is random depends on a key alone. Pixels are C x H x W, 8 bits.

1. random_aspect_ratio_param (Intel): a random part becomes crop_size x crop_size. Its area is a share of the picture's
   from min_area_ratio to max_area_ratio, its sides the area's root times and divided by a number from
   aspect_ratio_change to 1 / aspect_ratio_change. Where max_attempt draws do not fit, the shorter side becomes
   crop_size.
2. random_resize_param (Intel): the shorter side becomes a random one of min_size..max_size (0: the picture's shorter,
   longer side).
3. img_rand_resize_lower, _upper (NVIDIA): the shorter side becomes a random one of them; rand_resize_ratio_*: the
   longer is a random number of times as long; vertical_stretch_*, horizontal_stretch_*: height and width are multiplied
   by random numbers. No side ends shorter than crop_size, nor, without allow_upscale, longer than it was.
4. resize_param (SSD): to height x width.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from netspec import schema
from netspec.data.annotated import Picture, check_resize, resized, scaled
from netspec.errors import LayerError, SpecError

INT_MAX = 2**31 - 1
RATIOS = ("rand_resize_ratio", "vertical_stretch", "horizontal_stretch")
NVIDIA = (
    "img_rand_resize_lower",
    "img_rand_resize_upper",
    *(f"{w}_{end}" for w in RATIOS for end in ("lower", "upper")),
)
FIELDS = (
    *("random_aspect_ratio_param", "random_resize_param", "resize_param"),
    *(*NVIDIA, "allow_upscale", "interpolation_algo_up", "interpolation_algo_down"),
)
Resize = Callable[[np.ndarray, str, str], np.ndarray]
"""`resize(pixels, key, where)`; `where` names the picture in errors."""


def make(param: Any) -> Resize | None:
    """What a TransformationParameter asks for; None where it leaves sizes alone."""
    steps = [step for step, fields in STEPS.items() if any(param.HasField(field) for field in fields)]
    if not steps:
        return None

    def resize(pixels: np.ndarray, key: str, where: str) -> np.ndarray:
        if pixels.dtype != np.uint8:
            raise SpecError(f"{where} holds numbers of other than 8 bits, which are not resized")
        draw, out = random.Random(f"size {key}"), pixels.transpose(1, 2, 0)
        for step in steps:
            out = step(out, param, draw)
        return np.ascontiguousarray(out.transpose(2, 0, 1))

    return resize


def check(param: Any) -> None:
    """Refuses limits that leave nothing to draw, and what wants a crop_size and has none."""
    area, side = param.random_aspect_ratio_param, param.random_resize_param
    limits = [
        ("random_aspect_ratio_param.min_area_ratio", area.min_area_ratio, area.max_area_ratio),
        ("random_aspect_ratio_param.aspect_ratio_change", area.aspect_ratio_change, 1),
        ("random_resize_param.min_size", side.min_size, side.max_size or side.min_size),
        ("img_rand_resize_lower", param.img_rand_resize_lower, param.img_rand_resize_upper or INT_MAX),
        *((f"{w}_lower", getattr(param, f"{w}_lower"), getattr(param, f"{w}_upper")) for w in RATIOS),
    ]
    for field, least, most in limits:
        if not 0 <= least <= most:
            raise LayerError(f"{least:g} is not in 0..{most:g}", field=f"transform_param.{field}")
    for field in ("random_aspect_ratio_param", "random_resize_param"):
        if param.HasField(field) and not param.crop_size:
            raise LayerError(f"{field} wants a crop_size", field=f"transform_param.{field}")
    if not area.aspect_ratio_change > 0 or not area.min_area_ratio > 0:
        raise LayerError("ratios must be above 0", field="transform_param.random_aspect_ratio_param")
    check_resize(param)


def aspect(pixels: np.ndarray, param: Any, draw: random.Random) -> np.ndarray:
    p, crop = param.random_aspect_ratio_param, param.crop_size
    height, width = pixels.shape[:2]
    for _ in range(p.max_attempt):
        side = (draw.uniform(p.min_area_ratio, p.max_area_ratio) * height * width) ** 0.5
        change = draw.uniform(p.aspect_ratio_change, 1 / p.aspect_ratio_change)
        h, w = int(side * change), int(side / change)
        h, w = (w, h) if draw.random() < 0.5 else (h, w)
        if 0 < h <= height and 0 < w <= width:
            top, left = draw.randrange(height - h + 1), draw.randrange(width - w + 1)
            return sized(pixels[top : top + h, left : left + w], crop, crop, p.resize_param, draw)
    return to_shorter(pixels, crop, p.resize_param, draw)


def shorter(pixels: np.ndarray, param: Any, draw: random.Random) -> np.ndarray:
    p, sides = param.random_resize_param, sorted(pixels.shape[:2])
    least, most = p.min_size or sides[0], p.max_size or sides[1]
    return to_shorter(pixels, draw.randint(least, max(least, most)), p.resize_param, draw)


def to_shorter(pixels: np.ndarray, side: int, p: Any, draw: random.Random) -> np.ndarray:
    """The picture with a shorter side of that length; the longer is rounded down."""
    height, width = pixels.shape[:2]
    if height < width:
        return sized(pixels, side, int(np.float32(width) / np.float32(height) * np.float32(side)), p, draw)
    return sized(pixels, int(np.float32(height) / np.float32(width) * np.float32(side)), side, p, draw)


def sized(pixels: np.ndarray, height: int, width: int, p: Any, draw: random.Random) -> np.ndarray:
    """After a ResizeParameter, of another height and width."""
    own = type(p)()
    own.CopyFrom(p)
    own.height, own.width = height, width
    none = np.empty((0, 4))
    return resized(Picture(pixels, none, none), own, draw).pixels


def nvidia(pixels: np.ndarray, param: Any, draw: random.Random) -> np.ndarray:
    height, width = pixels.shape[:2]
    side, lower, upper = min(height, width), param.img_rand_resize_lower, param.img_rand_resize_upper
    scale = (draw.randint(lower, upper) if lower and upper else side) / side
    h, w = scale * height, scale * width
    if param.rand_resize_ratio_lower >= 1 and param.rand_resize_ratio_upper > 1:
        ratio = draw.uniform(param.rand_resize_ratio_lower, param.rand_resize_ratio_upper)
        wide = w > h or (w == h and draw.random() < 0.5)
        h, w = (h, h * ratio) if wide else (w * ratio, w)
    h *= stretch(param.vertical_stretch_lower, param.vertical_stretch_upper, draw)
    w *= stretch(param.horizontal_stretch_lower, param.horizontal_stretch_upper, draw)
    size = [max(param.crop_size, int(n + 0.5), 1) for n in (h, w)]
    if not param.allow_upscale:
        size = [min(n, m) for n, m in zip(size, (height, width), strict=True)]
    if size == [height, width]:
        return pixels
    way = "interpolation_algo_down" if size[0] <= height and size[1] <= width else "interpolation_algo_up"
    return scaled(pixels, size[0], size[1], schema.enum_name(param, way).removeprefix("INTER_"))


def stretch(lower: float, upper: float, draw: random.Random) -> float:
    return draw.uniform(lower, upper) if lower > 0 and upper > 0 else 1.0


def warp(pixels: np.ndarray, param: Any, draw: random.Random) -> np.ndarray:
    p = param.resize_param
    return sized(pixels, p.height, p.width, p, draw)


STEPS: dict[Callable[[np.ndarray, Any, random.Random], np.ndarray], tuple[str, ...]] = {
    aspect: ("random_aspect_ratio_param",),
    shorter: ("random_resize_param",),
    nvidia: NVIDIA,
    warp: ("resize_param",),
}
