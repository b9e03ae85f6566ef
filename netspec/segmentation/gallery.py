"""Pictures of what a net makes of its own data: image, truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.segmentation.infer import ILSVRC_MEAN, Mean
from netspec.segmentation.overlay import comparison, grid
from netspec.spec.binary import replacing


def gallery(net: Net, pair: tuple[Blob, Blob], images: int, mean: Mean = ILSVRC_MEAN) -> Image.Image | None:
    """A row for each of the net's next `images` items; `pair` is a score blob and its label.

    None where the net has no image of three channels to show.
    """
    data = image_blob(net)
    if data is None:
        return None
    rows: list[Sequence[Image.Image]] = []
    with torch.inference_mode():
        for _ in range(images):
            values = net.run((data, *pair), {})
            prediction = values[pair[0]][0].argmax(0).cpu().numpy()
            label = values[pair[1]][0].cpu().numpy()
            rows.append(comparison(picture(values[data][0].cpu().numpy(), mean), label, prediction))
    return grid(rows)


def image_blob(net: Net) -> Blob | None:
    """The first blob of three channels that comes from data."""
    tops = [top for spec, layer in net.bound if layer.is_data or spec.type == "Input" for top in spec.tops]
    return next((t for t in tops if len(net.blob_shapes[t]) == 4 and net.blob_shapes[t][1] == 3), None)


def picture(blob: np.ndarray, mean: Mean) -> np.ndarray:
    """A data blob 3 x H x W, BGR minus mean, as the RGB picture H x W x 3 it was."""
    bgr = blob.transpose(1, 2, 0) + np.asarray(mean, np.float32)
    return bgr[:, :, ::-1].round().clip(0, 255).astype(np.uint8)


def save(picture: Image.Image, path: Path) -> None:
    """Writes a picture under a temporary name, then renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
