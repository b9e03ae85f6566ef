"""Running a net on pictures: label maps from segmentation nets, class scores from classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from netspec.data.dataset import reading
from netspec.data.pixels import bgr_blob, blob, rgb
from netspec.errors import SpecError
from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.segmentation.flow import Work, flow

Mean = tuple[float, float, float]
ILSVRC_MEAN: Mean = (104.00699, 116.66877, 122.67892)
"""Mean B, G, R of the ImageNet training images, as the published FCN nets subtract it."""
TOGETHER = {"cpu": 1 << 18, "cuda": 1 << 21}
"""Pixels that go through the net at once: one picture of 500 x 500 fills a CPU, eight a GPU."""
WINDOW = 4
"""How many times as many are looked through for pictures of one size."""

Done = TypeVar("Done")


@dataclass(frozen=True)
class Runner:
    """A net with one image input, of three channels or one, and one output; `size` is the fixed height and width a
    classifier wants.

    `batches`: what it makes of a picture does not depend on others in the batch.
    """

    net: Net
    input: str
    output: str
    size: tuple[int, int] | None
    batches: bool

    @property
    def channels(self) -> int:
        """3 for B, G, R, 1 for grey."""
        return self.net.blob_shapes[self.net.blob(self.input)][1]

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted unless the caller says otherwise; no mean of grey pictures is published."""
        return ILSVRC_MEAN if self.channels == 3 else (0.0,)

    @property
    def segments(self) -> bool:
        """Whether the output is a map of class scores."""
        return self.size is None


def runner(net: Net) -> Runner:
    """Finds the image input (the first of four axes) and the class scores of a net."""
    images = [b for b in net.graph.inputs if len(net.blob_shapes[b]) == 4]
    if not images:
        raise SpecError("the net has no image input of four axes; `netspec deploy` makes one from a training net")
    outputs = [b for b in net.graph.outputs if b not in net.graph.inputs]
    maps = [b for b in outputs if len(net.blob_shapes[b]) == 4 and min(net.blob_shapes[b][2:]) > 1]
    if not outputs:
        raise SpecError("the net has no output")
    output = (maps or outputs)[0]
    if maps and net.blob_shapes[output][1] > 256:
        raise SpecError(f"{net.blob_shapes[output][1]} classes are more than the 256 values of a label image")
    needed = net.course((output,)).read
    if others := [b.name for b in net.graph.inputs if b in needed and b != images[0]]:
        raise SpecError(
            f"the net needs more than pictures: {', '.join(others)}; `netspec deploy` makes one that does not"
        )
    channels, height, width = net.blob_shapes[images[0]][1:]
    if channels not in (1, 3):
        raise SpecError(f"the input '{images[0]}' takes {channels} channels; a picture has 3, or 1 in grey")
    batches = separate(net, images[0], output)
    return Runner(net, images[0].name, output.name, None if maps else (height, width), batches)


def separate(net: Net, image: Blob, output: Blob) -> bool:
    """Whether the output has a row for each picture, made by layers that look at one picture at a time."""
    if not all(getattr(layer, "stored", True) for _, layer in net.bound):
        return False  # a normalisation by the batch's own statistics
    try:
        rows = [net.reshaped({image.name: (n, *net.blob_shapes[image][1:])})[output] for n in (1, 2)]
    except SpecError:
        return False
    return bool(rows[0]) and rows[1] == (2 * rows[0][0], *rows[0][1:])


def prepare(run: Runner, image: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """An RGB picture as the net's input, 1 x channels x H x W: at its own size, or resized for a classifier."""
    if run.size is not None:
        height, width = run.size
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    if run.channels == 1:
        return blob(np.asarray(Image.fromarray(image).convert("L"))[:, :, None], mean)
    return bgr_blob(image, mean)


def results(run: Runner, data: np.ndarray) -> list[np.ndarray]:
    """Of each picture in a batch its scores, or the class of the highest score at each pixel, H x W uint8."""
    with torch.inference_mode():
        given = torch.from_numpy(data).to(run.net.device)
        out = run.net(blobs=[run.output], **{run.input: given})[run.output]
        if run.segments:
            return list(out.argmax(1).to(torch.uint8).cpu().numpy())
        return list(out.float().reshape(len(data), -1).cpu().numpy())


def infer(
    run: Runner,
    paths: Iterable[Path],
    finish: Callable[[Path, np.ndarray, np.ndarray], Done],
    mean: Sequence[float] | None = None,
) -> Iterator[Done | SpecError]:
    """`finish(path, RGB picture, result)` of every picture file, in order, or the error it ended with.

    `finish` runs in threads, while the net runs on the next pictures.
    """

    def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
        image = rgb(path)
        return image, prepare(run, image, mean or run.mean)

    most = room(run.net)
    work = Work(pixels, load, lambda data: results(run, data), finish)
    return flow(paths, work, WINDOW * most, most if run.batches else 1)


def room(net: Net) -> int:
    """Most pixels that go through a net together."""
    return TOGETHER.get(net.device.type, TOGETHER["cpu"])


def pixels(path: Path) -> int:
    """How many pixels a picture has, as the head of its file says; 0 where loading will say why that cannot be read."""

    def size() -> int:
        with Image.open(path) as image:
            return image.width * image.height

    try:
        return reading(path, size)
    except SpecError:
        return 0


def top_classes(scores: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The k classes of the highest scores, best first."""
    return [(int(i), float(scores[i])) for i in np.argsort(-scores, kind="stable")[:k]]
