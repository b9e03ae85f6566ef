"""Functions that an exported module holds where PyTorch has no word for what a layer does.

They are written out as they stand here, so they use nothing but torch and their arguments.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor


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


@lru_cache(maxsize=1)
def _sources() -> dict[str, list[str]]:
    text = Path(__file__).read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {f.name: lines[f.lineno - 1 : f.end_lineno] for f in functions}


def source(name: str) -> list[str]:
    """The lines of one of the functions above."""
    return _sources()[name]
