"""Functions that an exported module holds where PyTorch has no word for what a layer does.

They are written out as they stand here, so they use nothing but torch and their arguments.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def crop(x: Tensor, like: Tensor, top: int, left: int) -> Tensor:
    """The part of x that starts at (top, left) and is as high and wide as `like`."""
    height, width = like.shape[2:]
    return x[:, :, top : top + height, left : left + width]


def zoom(x: Tensor, factor: int) -> Tensor:
    """Bilinear, corners in place: n cells become n + (n - 1)(factor - 1)."""
    size = [n + (n - 1) * (factor - 1) for n in x.shape[2:]]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def shrink(x: Tensor, factor: int) -> Tensor:
    """Bilinear, corners in place: n cells become (n - 1) div factor + 1."""
    size = [(n - 1) // factor + 1 for n in x.shape[2:]]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def last_argmax(x: Tensor, axis: int) -> Tensor:
    """Where the greatest value stands, as a number; the last of equal ones."""
    places = x.flip(axis).argmax(axis, keepdim=True)
    return (x.shape[axis] - 1 - places).float()


def best(x: Tensor, count: int) -> Tensor:
    """Where the greatest values of each image stand, and these values."""
    values, places = x.flatten(1).topk(count)
    return torch.stack([places.float(), values], 1)


def max_windows(x: Tensor, kernel: tuple[int, int], edges: tuple[int, ...]) -> Tensor:
    """The maxima of windows side by side, after padding left, right, top, bottom."""
    return F.max_pool2d(F.pad(x, edges, value=-float("inf")), kernel)


def mean_windows(x: Tensor, kernel: tuple[int, int], edges: tuple[int, ...]) -> Tensor:
    """The means of windows side by side, after padding left, right, top, bottom."""
    return F.avg_pool2d(F.pad(x, edges), kernel)


def put_back(x: Tensor, mask: Tensor, height: int, width: int) -> Tensor:
    """Zeros but for the values of x, at the places of the plane that the mask names."""
    plane = x.new_zeros(*x.shape[:2], height * width)
    plane = plane.scatter(2, mask.long().flatten(2), x.flatten(2))
    return plane.unflatten(2, (height, width))


def normalize(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Mean 0 and deviation 1 over the axes."""
    y = x - x.mean(axes, keepdim=True)
    return y / (torch.sqrt(y.square().mean(axes, keepdim=True)) + eps)


def fold_space(x: Tensor, s: int) -> Tensor:
    """Space into channels, in Darknet's order."""
    n, c, h, w = x.shape
    y = x.reshape(n, c // (s * s), h, s, w, s).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * s * s, h // s, w // s)


def unfold_space(x: Tensor, s: int) -> Tensor:
    """Channels into space, in Darknet's order."""
    n, c, h, w = x.shape
    y = x.reshape(n, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // (s * s), h * s, w * s)


def lstm_unit(c: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: the cell and what comes out; cont is 0 where it starts."""
    i, f, o, g = gates.chunk(4, -1)
    c = torch.sigmoid(f) * cont * c + torch.sigmoid(i) * torch.tanh(g)
    return c, torch.sigmoid(o) * torch.tanh(c)


def lstm(
    x: Tensor,
    cont: Tensor,
    hidden: nn.Module,
    h: Tensor | None = None,
    c: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM along the first axis; cont is 0 where a sequence starts."""
    zeros = x.new_zeros(x.shape[1], x.shape[2] // 4)
    h = zeros if h is None else h.reshape(zeros.shape)
    c = zeros if c is None else c.reshape(zeros.shape)
    steps = []
    for gates, going in zip(x, cont[..., None], strict=True):
        c, h = lstm_unit(c, gates + hidden(h * going), going)
        steps.append(h)
    return torch.stack(steps), h[None], c[None]


def rnn(
    x: Tensor,
    cont: Tensor,
    hidden: nn.Module,
    out: nn.Module,
    h: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A simple recurrent layer along the first axis; cont is 0 at starts."""
    h = x.new_zeros(x.shape[1:]) if h is None else h.reshape(x.shape[1:])
    steps = []
    for step, going in zip(x, cont[..., None], strict=True):
        h = torch.tanh(step + hidden(h * going))
        steps.append(h)
    return torch.tanh(out(torch.stack(steps))), h[None]


def prior_boxes(
    x: Tensor,
    image: Tensor,
    corners: Tensor,
    variance: Tensor,
    offset: float = 0.5,
    size: tuple[float, float] | None = None,
    step: tuple[float, float] | None = None,
    clip: bool = False,
) -> Tensor:
    """Boxes around every cell of x, in shares of the image, and their variances."""
    rows, columns = x.shape[2:]
    height, width = size or image.shape[2:]
    step_y, step_x = step or (height / rows, width / columns)
    y = (torch.arange(rows, device=x.device) + offset) * step_y
    x = (torch.arange(columns, device=x.device) + offset) * step_x
    y, x = torch.meshgrid(y, x, indexing="ij")
    boxes = torch.stack([x, y, x, y], -1)[:, :, None] + corners
    x1, y1, x2, y2 = boxes.unbind(-1)
    boxes = torch.stack([x1 / width, y1 / height, x2 / width, y2 / height], -1)
    boxes = boxes.clamp(0, 1) if clip else boxes
    return torch.stack([boxes.flatten(), variance.expand_as(boxes).flatten()])[None]


def box_corners(prior: Tensor, moves: Tensor, code: str) -> Tensor:
    """Boxes (x1, y1, x2, y2), from prior boxes and how they are moved."""
    size = prior[..., 2:] - prior[..., :2]
    if code == "CORNER":
        return prior + moves
    if code == "CORNER_SIZE":
        return prior + moves * torch.cat([size, size], -1)
    centre = moves[..., :2] * size + (prior[..., :2] + prior[..., 2:]) / 2
    half = torch.exp(moves[..., 2:]) * size / 2
    return torch.cat([centre - half, centre + half], -1)


def suppress(boxes: Tensor, overlap: float) -> list[int]:
    """Which boxes stay, best first: those that no better one covers."""
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    kept, left = [], torch.arange(len(boxes), device=boxes.device)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        near = torch.maximum(boxes[best, :2], boxes[left, :2])
        far = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        both = (far - near).clamp(min=0).prod(1)
        left = left[~(both / (area[best] + area[left] - both) > overlap)]
    return kept


def detect(
    locations: Tensor,
    confidences: Tensor,
    priors: Tensor,
    classes: int,
    background: int,
    code: str,
    overlap: float,
    threshold: float | None = None,
    top_k: int | None = None,
    keep: int | None = None,
    encoded: bool = False,
) -> Tensor:
    """Rows (image, label, confidence, x1, y1, x2, y2) of the boxes found."""
    prior, variance = priors[0].reshape(2, -1, 1, 4)
    moves = locations.reshape(len(locations), len(prior), -1, 4)
    boxes = box_corners(prior, moves if encoded else moves * variance, code)
    scores = confidences.reshape(len(confidences), len(prior), classes)
    rows = []
    for image in range(len(boxes)):
        found = []
        for label in range(classes):
            if label == background:
                continue
            score = scores[image, :, label]
            best = score.argsort(descending=True, stable=True)
            best = best if threshold is None else best[score[best] > threshold]
            own = boxes[image, :, label if moves.shape[2] > 1 else 0]
            best = best[:top_k]
            best = best[suppress(own[best], overlap)]
            head = score.new_tensor([image, label]).expand(len(best), 2)
            found.append(torch.cat([head, score[best, None], own[best]], 1))
        best = torch.cat(found)
        if keep is not None and len(best) > keep:
            order = best[:, 2].argsort(descending=True, stable=True)
            best = best[order[:keep].sort().values]
        rows.append(best)
    if not any(map(len, rows)):
        images = torch.arange(len(boxes), dtype=scores.dtype, device=scores.device)
        rows = [F.pad(images[:, None], (0, 6), value=-1)]
    return torch.cat(rows)[None, None]


def cells(first: Tensor, last: Tensor, count: int, size: int) -> list[tuple[int, int]]:
    """Where each of a region's cells starts and ends."""
    step = (last - first + 1).clamp(min=1) / count
    index = torch.arange(count, device=first.device)
    low = (first + torch.floor(index * step)).clamp(0, size)
    high = (first + torch.ceil((index + 1) * step)).clamp(0, size)
    return list(zip(low.int().tolist(), high.int().tolist(), strict=True))


def roi_pool(x: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """The maxima of regions (image, x1, y1, x2, y2), each in a grid of cells."""
    rois = rois.reshape(-1, 5)
    corners = rois[:, 1:] * scale
    corners = torch.copysign(torch.floor(corners.abs() + 0.5), corners)
    out = x.new_zeros(len(rois), x.shape[1], *size)
    for r, (left, top, right, bottom) in enumerate(corners):
        plane = x[int(rois[r, 0])]
        columns = cells(left, right, size[1], x.shape[3])
        for i, (y, y_end) in enumerate(cells(top, bottom, size[0], x.shape[2])):
            for j, (x_first, x_end) in enumerate(columns):
                if y < y_end and x_first < x_end:
                    out[r, :, i, j] = plane[:, y:y_end, x_first:x_end].amax((1, 2))
    return out


@lru_cache(maxsize=1)
def _sources() -> dict[str, list[str]]:
    text = Path(__file__).read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {f.name: lines[f.lineno - 1 : f.end_lineno] for f in functions}


def source(name: str) -> list[str]:
    """The lines of one of the functions above."""
    return _sources()[name]
