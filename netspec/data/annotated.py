"""Annotated images: boxes in shares of the image that move along when the picture is distorted, enlarged, cut, resized,
cropped or mirrored.

The order is SSD's: distort, expand, a random part (batch_sampler), resize, noise, crop, mirror, mean, scale. Whatever
is random depends on a key alone. Pixels are H x W x C, blue, green, red, 0..255.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from netspec import schema
from netspec.data.datum import text
from netspec.data.images import resize
from netspec.data.transform import Transform
from netspec.errors import LayerError

WHOLE = np.array([0.0, 0.0, 1.0, 1.0])
HUES = 180
"""OpenCV's degrees of hue in a byte: half of what they are."""


@dataclass(frozen=True)
class Picture:
    """Pixels, boxes n x 4 (xmin, ymin, xmax, ymax), and per box class, instance, whether it is difficult."""

    pixels: np.ndarray
    boxes: np.ndarray
    marks: np.ndarray

    def seen(self, region: np.ndarray, emit: Any | None, pixels: np.ndarray) -> Picture:
        """The part within a region, whose boxes are cut at its border; those that `emit` does not admit go."""
        near, far = region[:2], region[2:]
        boxes = self.boxes
        stay = ((boxes[:, :2] < far) & (boxes[:, 2:] > near)).all(1) & admitted(boxes, region, emit)
        moved = ((boxes - np.tile(near, 2)) / np.tile(far - near, 2)).clip(0, 1)
        stay &= (moved[:, 2:] > moved[:, :2]).all(1)
        return Picture(pixels, moved[stay], self.marks[stay])


def admitted(boxes: np.ndarray, region: np.ndarray, emit: Any | None) -> np.ndarray:
    """CENTER: the box's centre lies in the region; MIN_OVERLAP: more than emit_overlap of the box does."""
    if emit is None:
        return np.ones(len(boxes), bool)
    if schema.enum_name(emit, "emit_type") == "CENTER":
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.asarray(((centre >= region[:2]) & (centre <= region[2:])).all(1))
    return shared(region, boxes) > emit.emit_overlap * sizes(boxes)


def sizes(boxes: np.ndarray) -> np.ndarray:
    """Areas."""
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)


def shared(region: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Areas that boxes share with a region."""
    side = np.minimum(region[2:], boxes[:, 2:]) - np.maximum(region[:2], boxes[:, :2])
    return np.maximum(side, 0).prod(1)


class Annotator:
    """The chain of one layer: transform_param and its batch samplers."""

    def __init__(self, param: Any, samplers: Sequence[Any], plain: Transform) -> None:
        """`plain` holds mean, scale and phase."""
        self.p, self.samplers, self.plain = param, list(samplers), plain
        check(param, self.samplers)

    def __call__(self, picture: Picture, key: str, where: str) -> Picture:
        """The picture as the net sees it: C x h x w float32."""
        draw, p = random.Random(key), self.p
        if p.HasField("distort_param"):
            picture = replace(picture, pixels=distort(picture.pixels, p.distort_param, draw))
        if p.HasField("expand_param"):
            picture = self.expand(picture, draw)
        picture = self.part(picture, draw)
        if p.HasField("resize_param"):
            picture = resized(picture, p.resize_param, draw)
        if p.HasField("noise_param"):
            picture = replace(picture, pixels=noise(picture.pixels, p.noise_param, draw))
        return self.finish(picture, draw, where)

    def emit(self) -> Any | None:
        return self.p.emit_constraint if self.p.HasField("emit_constraint") else None

    def expand(self, picture: Picture, draw: random.Random) -> Picture:
        """The picture somewhere in a larger one of the mean's colour."""
        p, (height, width, channels) = self.p.expand_param, picture.pixels.shape
        if draw.random() > p.prob or abs(p.max_expand_ratio - 1) < 0.01:
            return picture
        ratio = draw.uniform(1, p.max_expand_ratio)
        large = (int(height * ratio), int(width * ratio))
        top, left = (int(draw.uniform(0, n - m)) for n, m in zip(large, (height, width), strict=True))
        pixels = np.empty((*large, channels), picture.pixels.dtype)
        pixels[:] = np.rint(self.p.mean_value or [0])
        pixels[top : top + height, left : left + width] = picture.pixels
        region = np.array([-left / width, -top / height, (large[1] - left) / width, (large[0] - top) / height])
        return picture.seen(region, self.emit(), pixels)

    def part(self, picture: Picture, draw: random.Random) -> Picture:
        """One of the parts that the batch samplers find, drawn at random; the whole if they find none."""
        found = [region for sampler in self.samplers for region in sampled(sampler, picture.boxes, draw)]
        if not found:
            return picture
        region = draw.choice(found).clip(0, 1)
        height, width = picture.pixels.shape[:2]
        left, top = int(region[0] * width), int(region[1] * height)
        right = left + max(1, int((region[2] - region[0]) * width))
        bottom = top + max(1, int((region[3] - region[1]) * height))
        return picture.seen(region, self.emit(), picture.pixels[top:bottom, left:right])

    def finish(self, picture: Picture, draw: random.Random, where: str) -> Picture:
        """Crop, mirror, mean, scale."""
        flip = self.p.mirror and draw.random() < 0.5
        rows, columns, region = self.window(picture.pixels.shape, draw, where)
        picture = picture.seen(region, self.emit(), picture.pixels[rows, columns])
        top = picture.pixels.transpose(2, 0, 1)
        plain = self.plain
        if plain.mean is not None and plain.mean.shape[1:] != top.shape[1:]:
            plain = replace(plain, mean=plain.mean[:, rows, columns])
        values, boxes = plain(top, "", where), picture.boxes
        if flip:
            values = values[:, :, ::-1]
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
        return Picture(values, boxes, picture.marks)

    def window(self, shape: tuple[int, ...], draw: random.Random, where: str) -> tuple[slice, slice, np.ndarray]:
        """Rows and columns of the crop, and what part of the picture they are."""
        p = self.p
        wanted = [p.crop_h or p.crop_size or shape[0], p.crop_w or p.crop_size or shape[1]]
        rest = [n - m for n, m in zip(shape, wanted, strict=False)]
        if min(rest) < 0:
            message = f"a crop of {text(tuple(wanted))} exceeds {where} of {text(shape)}"
            raise LayerError(message, field="transform_param.crop_size")
        top, left = [draw.randrange(n + 1) for n in rest] if self.plain.train else [n // 2 for n in rest]
        region = np.array([left, top, left + wanted[1], top + wanted[0]]) / np.tile([shape[1], shape[0]], 2)
        return slice(top, top + wanted[0]), slice(left, left + wanted[1]), region


def check(param: Any, samplers: Sequence[Any]) -> None:
    """Refuses settings that have no sense or are not known here; reads nothing."""
    check_resize(param)
    for field in ("clahe", "convert_to_hsv", "convert_to_lab"):
        if getattr(param.noise_param, field):
            raise LayerError(f"{field} is not supported", field=f"transform_param.noise_param.{field}")
    if param.HasField("expand_param") and not 0.99 < param.expand_param.max_expand_ratio <= 1000:
        raise LayerError("max_expand_ratio must be 1 to 1000", field="transform_param.expand_param.max_expand_ratio")
    for sampler in samplers:
        p = sampler.sampler
        if not 0 < p.min_scale <= p.max_scale <= 1 or not 0 < p.min_aspect_ratio <= p.max_aspect_ratio:
            raise LayerError(
                "scales must be above 0, up to 1, and aspect ratios above 0, the least first",
                field="annotated_data_param.batch_sampler.sampler",
            )


def check_resize(param: Any) -> None:
    """resize_param wants a size, in pixels."""
    if param.HasField("resize_param"):
        p = param.resize_param
        if not p.height or not p.width:
            raise LayerError("height and width must be above 0", field="transform_param.resize_param")
        if p.height_scale or p.width_scale:
            raise LayerError("height_scale and width_scale are not supported", field="transform_param.resize_param")


def sampled(sampler: Any, boxes: np.ndarray, draw: random.Random) -> list[np.ndarray]:
    """Up to max_sample random parts of the picture that meet the constraint, of max_trials."""
    found: list[np.ndarray] = []
    for _ in range(sampler.max_trials if sampler.use_original_image else 0):
        if sampler.HasField("max_sample") and len(found) >= sampler.max_sample:
            break
        region = random_part(sampler.sampler, draw)
        if meets(region, boxes, sampler.sample_constraint):
            found.append(region)
    return found


def random_part(p: Any, draw: random.Random) -> np.ndarray:
    """A part of the area scale² and of a random aspect ratio, as far as the picture has room for it."""
    scale = draw.uniform(p.min_scale, p.max_scale)
    ratio = draw.uniform(p.min_aspect_ratio, p.max_aspect_ratio)
    root = min(max(ratio, scale**2), 1 / scale**2) ** 0.5
    width, height = min(scale * root, 1), min(scale / root, 1)
    left, top = draw.uniform(0, 1 - width), draw.uniform(0, 1 - height)
    return np.array([left, top, left + width, top + height])


def meets(region: np.ndarray, boxes: np.ndarray, constraint: Any) -> bool:
    """Whether one of the boxes keeps all limits that are given; without limits, every region is good.

    jaccard_overlap is the shared area over that of both together, sample_coverage over the region's, object_coverage
    over the box's.
    """
    limits = [field.name for field, _ in constraint.ListFields()]
    if not limits:
        return True
    if not len(boxes):
        return False
    both, own = shared(region, boxes), sizes(boxes)
    with np.errstate(divide="ignore", invalid="ignore"):
        measures = {
            "jaccard_overlap": both / (sizes(region) + own - both),
            "sample_coverage": both / sizes(region),
            "object_coverage": np.where(both > 0, both / own, 0),
        }
    good = np.ones(len(boxes), bool)
    for name in limits:
        value, limit = measures[name[4:]], getattr(constraint, name)
        good &= value >= limit if name.startswith("min_") else value <= limit
    return bool(good.any())


def distort(pixels: np.ndarray, p: Any, draw: random.Random) -> np.ndarray:
    """Brightness, then contrast, saturation, hue, or contrast last, then channels in random order; each by chance.

    Brightness adds up to ± brightness_delta, contrast multiplies all channels, saturation that of HSV, hue turns by up
    to ± hue_delta half degrees. Values are rounded and cut at 0 and 255 after each.
    """
    if pixels.shape[2] != 3:
        return pixels
    contrast_last = draw.random() <= 0.5
    pixels = adjust(pixels, draw, p.brightness_prob, (-p.brightness_delta, p.brightness_delta), brighten)
    contrast = (p.contrast_prob, (p.contrast_lower, p.contrast_upper), stretch)
    if not contrast_last:
        pixels = adjust(pixels, draw, *contrast)
    pixels = adjust(pixels, draw, p.saturation_prob, (p.saturation_lower, p.saturation_upper), saturate)
    pixels = adjust(pixels, draw, p.hue_prob, (-p.hue_delta, p.hue_delta), turn)
    if contrast_last:
        pixels = adjust(pixels, draw, *contrast)
    if draw.random() < p.random_order_prob:
        pixels = pixels[:, :, draw.sample(range(3), 3)]
    return pixels


def adjust(pixels: np.ndarray, draw: random.Random, prob: float, limits: tuple[float, float], how: Any) -> np.ndarray:
    """Applies `how` with a random amount within the limits, with probability `prob`."""
    chance, amount = draw.random(), draw.uniform(*limits)
    return how(pixels, amount) if chance < prob else pixels


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def brighten(pixels: np.ndarray, amount: float) -> np.ndarray:
    return to_bytes(pixels + amount)


def stretch(pixels: np.ndarray, amount: float) -> np.ndarray:
    return to_bytes(pixels * amount)


def saturate(pixels: np.ndarray, amount: float) -> np.ndarray:
    hue, saturation, value = to_hsv(pixels)
    return from_hsv(hue, np.rint(saturation * amount).clip(0, 255), value)


def turn(pixels: np.ndarray, amount: float) -> np.ndarray:
    hue, saturation, value = to_hsv(pixels)
    return from_hsv(np.rint(hue + amount).clip(0, 255) % HUES, saturation, value)


def to_hsv(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue 0..179, saturation and value 0..255, rounded."""
    blue, green, red = pixels.astype(np.float64).transpose(2, 0, 1)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(spread == 0, 1, spread)
    sixth = np.select(
        [value == red, value == green],
        [(green - blue) / divisor, 2 + (blue - red) / divisor],
        4 + (red - green) / divisor,
    )
    saturation = spread / np.where(value == 0, 1, value) * 255
    return np.rint(np.where(spread == 0, 0, sixth) * 30) % HUES, np.rint(saturation), value


def from_hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Back to blue, green, red."""
    chroma = saturation / 255 * value
    channels = []
    for shift in (1, 3, 5):  # blue, green, red
        k = (shift + hue / 30) % 6
        channels.append(value - chroma * np.minimum(k, 4 - k).clip(0, 1))
    return to_bytes(np.stack(channels, -1))


def resized(picture: Picture, p: Any, draw: random.Random) -> Picture:
    """WARP: to height x width. FIT_SMALL_SIZE: the least size of the same shape that holds it. FIT_LARGE_SIZE_AND_PAD:
    the greatest that fits into it, padded on both sides."""
    mode = schema.enum_name(p, "resize_mode")
    height, width = picture.pixels.shape[:2]
    shape, wanted = width / height, p.width / p.height
    if mode == "WARP":
        return replace(picture, pixels=interpolated(picture.pixels, p.height, p.width, p, draw))
    by_width = shape < wanted if mode == "FIT_SMALL_SIZE" else shape > wanted
    size = (max(1, int(p.width / shape)), p.width) if by_width else (p.height, max(1, int(shape * p.height)))
    pixels = interpolated(picture.pixels, *size, p, draw)
    if mode == "FIT_SMALL_SIZE":
        return replace(picture, pixels=pixels)
    top, left = (p.height - size[0]) // 2, (p.width - size[1]) // 2
    rest = ((top, p.height - size[0] - top), (left, p.width - size[1] - left), (0, 0))
    region = np.array([-left / size[1], -top / size[0], (p.width - left) / size[1], (p.height - top) / size[0]])
    return picture.seen(region, None, padded(pixels, rest, p))


def padded(pixels: np.ndarray, rest: tuple[tuple[int, int], ...], p: Any) -> np.ndarray:
    mode = schema.enum_name(p, "pad_mode")
    if mode == "MIRRORED":
        return np.pad(pixels, rest, "reflect")
    if mode == "REPEAT_NEAREST":
        return np.pad(pixels, rest, "edge")
    if len(p.pad_value) not in (0, 1, pixels.shape[2]):
        message = f"{len(p.pad_value)} pad values for {pixels.shape[2]} channels; give one, or one per channel"
        raise LayerError(message, field="transform_param.resize_param.pad_value")
    out = np.empty([n + a + b for n, (a, b) in zip(pixels.shape, rest, strict=True)], pixels.dtype)
    out[:] = np.array(p.pad_value or [0])
    out[rest[0][0] : rest[0][0] + pixels.shape[0], rest[1][0] : rest[1][0] + pixels.shape[1]] = pixels
    return out


def interpolated(pixels: np.ndarray, height: int, width: int, p: Any, draw: random.Random) -> np.ndarray:
    """`scaled` in one of the ways in interp_mode, drawn at random; without, LINEAR."""
    modes = p.DESCRIPTOR.fields_by_name["interp_mode"].enum_type.values_by_number
    return scaled(pixels, height, width, modes[draw.choice(list(p.interp_mode))].name if p.interp_mode else "LINEAR")


def scaled(pixels: np.ndarray, height: int, width: int, mode: str) -> np.ndarray:
    """To another size.

    LINEAR and NEAREST are as in OpenCV; AREA, CUBIC and LANCZOS4 are Pillow's box, bicubic and Lanczos filters, which
    are close to them (and smooth where CUBIC and LANCZOS4 of OpenCV do not).
    """
    if mode == "NEAREST":
        rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), pixels.shape, strict=False))
        return pixels[rows[:, None], columns]
    if mode == "LINEAR":
        return resize(pixels, height, width)
    ways = {"AREA": Image.Resampling.BOX, "CUBIC": Image.Resampling.BICUBIC, "LANCZOS4": Image.Resampling.LANCZOS}
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), ways[mode]))
        for plane in pixels.transpose(2, 0, 1)
    ]
    return np.stack(planes, -1)


def noise(pixels: np.ndarray, p: Any, draw: random.Random) -> np.ndarray:
    """What is asked for, in SSD's order: grey, blur (7 x 7, sigma 1.5), equalised brightness, JPEG of that quality,
    erosion by a cross, posterised to steps of 64, inverted, salt and pepper."""
    if p.decolorize and pixels.shape[2] == 3:
        grey = to_bytes(pixels @ np.array([0.114, 0.587, 0.299]))
        pixels = np.repeat(grey[:, :, None], 3, 2)
    if p.gauss_blur:
        pixels = to_bytes(
            ndimage.gaussian_filter(pixels.astype(np.float64), (1.5, 1.5, 0), radius=(3, 3, 0), mode="mirror")
        )
    if p.hist_eq:
        pixels = equalised(pixels)
    if p.jpeg > 0:
        pixels = through_jpeg(pixels, int(p.jpeg))
    if p.erode:
        cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
        pixels = ndimage.grey_erosion(pixels, footprint=cross, mode="nearest")
    if p.posterize:
        pixels = pixels // 64 * 64 + 32
    if p.inverse:
        pixels = 255 - pixels
    if p.saltpepper:
        pixels = peppered(pixels, p.saltpepper_param, draw)
    return pixels


def equalised(pixels: np.ndarray) -> np.ndarray:
    """The brightness (Y of YCrCb, or the only channel) spread so that its histogram is flat."""
    weights = np.array([0.114, 0.587, 0.299]) if pixels.shape[2] == 3 else np.ones(1)
    bright = to_bytes(pixels @ weights)
    counts = np.bincount(bright.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = bright.size - counts[first]
    if not rest:
        return pixels
    table = np.rint((counts.cumsum() - counts[first]) * (255 / rest))
    return to_bytes(pixels + (table[bright] - bright)[:, :, None])


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    grey = pixels.shape[2] == 1
    Image.fromarray(pixels[:, :, 0] if grey else np.ascontiguousarray(pixels[:, :, ::-1])).save(
        file, "JPEG", quality=quality
    )
    back = np.asarray(Image.open(file))
    return back[:, :, None] if grey else back[:, :, ::-1]


def peppered(pixels: np.ndarray, p: Any, draw: random.Random) -> np.ndarray:
    """`value` at a random `fraction` of the places."""
    out = pixels.copy()
    height, width = out.shape[:2]
    for _ in range(int(p.fraction * height * width)):
        out[draw.randrange(height), draw.randrange(width)] = np.array(p.value or [0]).clip(0, 255).astype(np.uint8)
    return out
