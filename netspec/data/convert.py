"""Databases from image lists, and the mean image of a database: what convert_imageset and compute_image_mean write."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from netspec import schema
from netspec.data import datum
from netspec.data.database import Database
from netspec.data.dataset import reading
from netspec.data.imagelist import Line
from netspec.data.images import decode, resize
from netspec.errors import SpecError, suggestion

ENCODINGS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "tif": "TIFF", "tiff": "TIFF", "webp": "WEBP"}
JPEG = {"quality": 95, "subsampling": "4:2:0"}
WORKERS = min(4, os.cpu_count() or 1)
PER_WORKER = 4  # items made ahead

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Conversion:
    """How images become records. `size`: height and width to resize to; `encode_type`: a suffix, or as the file's."""

    root: str = ""
    gray: bool = False
    size: tuple[int, int] | None = None
    encoded: bool = False
    encode_type: str = ""

    def __post_init__(self) -> None:
        if self.encode_type and self.encode_type not in ENCODINGS:
            near = suggestion(self.encode_type, ENCODINGS)
            raise SpecError(f"unknown encode type '{self.encode_type}'{near}; known: {', '.join(ENCODINGS)}")

    def path(self, name: str) -> Path:
        return Path(f"{self.root.rstrip('/')}/{name}" if self.root else name)

    def record(self, line: Line) -> Any:
        """The Datum of one image; an encoded one has no channels, height and width."""
        path = self.path(line.name)
        pixels = decode(path, not self.gray, path)
        if self.size:
            pixels = resize(pixels, *self.size)
        if self.encoded or self.encode_type:
            return schema.new("Datum", data=self._encode(pixels, path), label=line.label, encoded=True)
        height, width, channels = pixels.shape
        data = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
        sizes = {"channels": channels, "height": height, "width": width}
        return schema.new("Datum", **sizes, data=data, label=line.label, encoded=False)

    def _encode(self, pixels: np.ndarray, path: Path) -> bytes:
        """The file itself where it is what is asked for, else the pixels encoded anew."""
        own = path.suffix.lower().removeprefix(".")
        wanted = self.encode_type or own
        if wanted not in ENCODINGS:
            raise SpecError(f"{path} has no suffix that tells its encoding; choose one of {', '.join(ENCODINGS)}")
        if not self.size and ENCODINGS.get(own) == ENCODINGS[wanted]:
            return reading(path, path.read_bytes)
        image = Image.fromarray(pixels[:, :, 0] if self.gray else np.ascontiguousarray(pixels[:, :, ::-1]))
        out = BytesIO()
        image.save(out, ENCODINGS[wanted], **(JPEG if ENCODINGS[wanted] == "JPEG" else {}))
        return out.getvalue()


def records(lines: Sequence[Line], conversion: Conversion, check_size: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Keys and records of a list, in its order: the key is the number of the line in eight digits, `_`, the name."""
    first = 0
    for number, (line, record) in enumerate(zip(lines, ahead(conversion.record, lines), strict=True)):
        size = len(record.data)
        first = first or size
        if check_size and size != first:
            raise SpecError(f"{conversion.path(line.name)} has {size} values, the first image has {first}")
        key = f"{number:08d}_{line.name}".encode(errors="surrogateescape")
        yield key, record.SerializeToString(deterministic=True)


def mean_image(database: Database, track: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers) -> Any:
    """The mean of all records, pixel by pixel, as a BlobProto of 1 x C x H x W; `track` sees the numbers go by."""
    total = np.zeros(0)
    keys = database.keys()

    def load(key: bytes) -> np.ndarray:
        where = database.where(key)
        return datum.pixels(datum.parse(database.read([key])[0], where), where)

    for n, pixels in zip(track(range(len(database))), ahead(load, map(keys, range(len(database)))), strict=True):
        total = total if n else np.zeros(pixels.shape)
        if pixels.shape != total.shape:
            raise SpecError(
                f"{database.where(keys(n))} is {datum.text(pixels.shape)}, the first one is {datum.text(total.shape)}; "
                "a mean needs records of one size"
            )
        total += pixels
    mean = (total / len(database)).astype(np.float32)
    channels, height, width = mean.shape
    return schema.new("BlobProto", num=1, channels=channels, height=height, width=width, data=mean.ravel().tolist())


def ahead(function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """`map` in a few threads, a few items ahead."""
    pending: deque[Any] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > PER_WORKER * WORKERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
