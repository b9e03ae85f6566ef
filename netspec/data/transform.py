"""transform_param: top = (crop(pixels) - mean) scale, then mirrored.

The crop is random in TRAIN and in the centre (rounded down) in TEST. A mean image has the size of the whole picture and
is cropped at the same place. Whatever is random depends on a key alone, so that an item is transformed alike in any
thread, by any worker, and after a resume.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.data.datum import text
from netspec.errors import LayerError, SpecError
from netspec.spec import binary


@dataclass(frozen=True)
class Transform:
    """The settings of one layer. `mean`: C x H x W; `mean_values`: one, or one per channel."""

    scale: float = 1.0
    mirror: bool = False
    crop: int = 0
    mean: np.ndarray | None = None
    mean_values: tuple[float, ...] = ()
    train: bool = False
    resize: Callable[[np.ndarray, str, str], np.ndarray] | None = None
    """What is done to the whole picture first: `resize(pixels, key, where)`."""

    def __call__(self, pixels: np.ndarray, key: str, where: str) -> np.ndarray:
        """C x H x W of any type -> float32 C x h x w. `where` names the picture in errors."""
        pixels = self.resize(pixels, key, where) if self.resize else pixels
        self._check(pixels.shape, where)
        draw = random.Random(key) if self.mirror or (self.train and self.crop) else None
        flip = self.mirror and draw is not None and draw.random() < 0.5
        rows, columns = self._window(pixels.shape[1:], draw)
        top = pixels[:, rows, columns].astype(np.float32)
        if self.mean is not None:
            top -= self.mean[:, rows, columns]
        elif self.mean_values:
            top -= np.array(self.mean_values, np.float32)[:, None, None]
        if self.scale != 1:
            top *= np.float32(self.scale)
        return top[:, :, ::-1] if flip else top

    def _window(self, size: tuple[int, ...], draw: random.Random | None) -> tuple[slice, slice]:
        if not self.crop:
            return slice(None), slice(None)
        rest = [n - self.crop for n in size]
        top, left = [draw.randrange(n + 1) for n in rest] if self.train and draw else [n // 2 for n in rest]
        return slice(top, top + self.crop), slice(left, left + self.crop)

    def _check(self, shape: tuple[int, ...], where: str) -> None:
        if self.crop > min(shape[1:]):
            raise LayerError(
                f"crop_size {self.crop} exceeds {where} of {text(shape)}", field="transform_param.crop_size"
            )
        if self.mean is not None and self.mean.shape != shape:
            message = f"the mean image is {text(self.mean.shape)}, but {where} is {text(shape)}"
            raise LayerError(message, field="transform_param.mean_file")
        check_mean_values(self.mean_values, shape[0])


def check_mean_values(values: tuple[float, ...], channels: int) -> None:
    """Refuses a number of mean values that is neither 1 nor that of the channels."""
    if len(values) not in (0, 1, channels):
        message = f"{len(values)} mean values for {channels} channels; give one, or one per channel"
        raise LayerError(message, field="transform_param.mean_value")


def make(param: Any, train: bool, find: Callable[[str, str], Path]) -> Transform:
    """The transform that a TransformationParameter asks for; `find` finds the mean file."""
    mean = read_mean(find(param.mean_file, "mean file")) if param.mean_file else None
    return Transform(param.scale, param.mirror, param.crop_size, mean, tuple(param.mean_value), train)


def read_mean(path: Path) -> np.ndarray:
    """A mean image (.binaryproto) as C x H x W float32."""
    blob = binary.read(path, "BlobProto").message
    shape = list(blob.shape.dim) if blob.HasField("shape") else [blob.num, blob.channels, blob.height, blob.width]
    values = np.array(blob.double_data or blob.data, np.float32)
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 3 or min(shape) < 1 or int(np.prod(shape, dtype=object)) != values.size:
        raise SpecError(f"{path} is no mean image: {values.size} values of shape {text(tuple(shape))}")
    return values.reshape(shape)
