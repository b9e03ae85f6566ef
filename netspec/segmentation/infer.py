"""Running a net on pictures: label maps from segmentation nets, class scores from classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from netspec.data.pixels import bgr_blob
from netspec.errors import SpecError
from netspec.net import Net

Mean = tuple[float, float, float]
ILSVRC_MEAN: Mean = (104.00699, 116.66877, 122.67892)
"""Mean B, G, R of the ImageNet training images, as the published FCN nets subtract it."""


@dataclass(frozen=True)
class Runner:
    """A net with one image input and one output; `size` is the fixed height and width a classifier wants."""

    net: Net
    input: str
    output: str
    size: tuple[int, int] | None

    @property
    def segments(self) -> bool:
        """Whether the output is a map of class scores."""
        return self.size is None


def runner(net: Net) -> Runner:
    """Finds the image input (the first with three or four axes) and the class scores of a net."""
    images = [b for b in net.graph.inputs if len(net.blob_shapes[b]) == 4]
    if not images:
        raise SpecError("the net has no image input of four axes; `netspec deploy` makes one from a training net")
    outputs = [b for b in net.graph.outputs if b not in net.graph.inputs]
    maps = [b for b in outputs if len(net.blob_shapes[b]) == 4 and min(net.blob_shapes[b][2:]) > 1]
    if not outputs:
        raise SpecError("the net has no output")
    output = (maps or outputs)[0]
    height, width = net.blob_shapes[images[0]][2:]
    return Runner(net, images[0].name, output.name, None if maps else (height, width))


def scores(runner: Runner, image: np.ndarray, mean: Mean = ILSVRC_MEAN) -> np.ndarray:
    """The output for one RGB picture: classes x height x width, or classes.

    The picture is used at its own size by a segmentation net and resized for a classifier.
    """
    if runner.size is not None:
        height, width = runner.size
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    data = torch.from_numpy(bgr_blob(image, mean)).to(runner.net.device)
    with torch.inference_mode():
        out = runner.net(blobs=[runner.output], **{runner.input: data})[runner.output]
    return out[0].float().cpu().numpy().squeeze() if runner.size else out[0].float().cpu().numpy()


def segment(runner: Runner, image: np.ndarray, mean: Mean = ILSVRC_MEAN) -> np.ndarray:
    """The class of every pixel, H x W uint8: the one of the highest score."""
    return scores(runner, image, mean).argmax(0).astype(np.uint8)


def top_classes(runner: Runner, image: np.ndarray, mean: Mean, k: int) -> list[tuple[int, float]]:
    """The k classes of the highest scores, best first."""
    values = scores(runner, image, mean).reshape(-1)
    return [(int(i), float(values[i])) for i in np.argsort(-values, kind="stable")[:k]]
