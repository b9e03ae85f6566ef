"""What a net makes of some of its validation images: the first, the best and the worst of those looked at.

The test net's data go on afterwards from where they stood, so that no test sees other images for it.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from netspec.net import Net
from netspec.segmentation.gallery import image_blob, picture
from netspec.segmentation.infer import ILSVRC_MEAN
from netspec.segmentation.metrics import Confusion
from netspec.segmentation.palette import colours
from netspec.solver.scoring import Pair, find_pairs
from netspec.solver.solver import memories, recall

LOOKED_AT, SECONDS, LEAST = 12, 8.0, 3
"""Images to look at; no new one is begun after so many seconds, but for the least number."""
WIDTH = 320


@dataclass(frozen=True)
class Sample:
    """One image with truth and prediction, as data URLs, and its mean IU."""

    number: int
    mean_iu: float
    image: str
    truth: str
    prediction: str
    word: str = ""


def samples(net: Net, precision: Callable[[], AbstractContextManager[object]]) -> list[Sample]:
    """The first two, the best and the worst; none for a net that does not segment images."""
    pairs, data = find_pairs(net), image_blob(net)
    if not pairs or data is None:
        return []
    before, seen = memories(net), []
    start = time.monotonic()
    try:
        with torch.inference_mode(), precision():
            while len(seen) < LOOKED_AT and (len(seen) < LEAST or time.monotonic() - start < SECONDS):
                values = net.run((data, pairs[0].score, pairs[0].label), {})
                label = values[pairs[0].label][0].float().cpu().numpy().squeeze()
                best = values[pairs[0].score][0].argmax(0).cpu().numpy()
                image = values[data][0].float().cpu().numpy()
                seen.append(sample(len(seen), image, label, best, pairs[0]))
    finally:
        recall(net, before)
    return chosen(seen)


def sample(number: int, image: np.ndarray, label: np.ndarray, best: np.ndarray, pair: Pair) -> Sample:
    """One image's pictures and score."""
    counts = Confusion(pair.classes, pair.ignore)
    counts.update(label, best)
    shown = picture(image, ILSVRC_MEAN)
    urls = url(Image.fromarray(shown), "JPEG"), *(url(Image.fromarray(colours(x)), "PNG") for x in (label, best))
    return Sample(number, float(counts.scores()["mean_iu"]), *urls)


def url(image: Image.Image, form: str) -> str:
    """A picture as a data URL, not wider than WIDTH."""
    if image.width > WIDTH:
        how = Image.Resampling.NEAREST if form == "PNG" else Image.Resampling.BILINEAR
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), how)
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 82} if form == "JPEG" else {"optimize": True}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def chosen(seen: list[Sample]) -> list[Sample]:
    """The first two, and the best and the worst of all, each once."""
    words: dict[int, list[str]] = {s.number: ["first"] for s in seen[:2]}
    scored = sorted((s for s in seen if not np.isnan(s.mean_iu)), key=lambda s: -s.mean_iu)
    for word, found in (("best", scored[:1]), ("worst", scored[-1:])):
        for s in found if len(scored) > 1 else []:
            words.setdefault(s.number, []).append(f"{word} of {len(seen)}")
    return [replace(seen[n], word=", ".join(said)) for n, said in words.items()]
