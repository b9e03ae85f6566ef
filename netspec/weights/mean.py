"""Mean images: `.binaryproto`, as compute_image_mean writes them, and `.npy`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.spec.binary import replacing
from netspec.weights import mapped, npz, wire
from netspec.weights.wire import LENGTH, BlobWriter, Field

SUFFIXES = (".binaryproto", ".npy")


def read(path: str | Path) -> np.ndarray:
    """A mean as K x H x W float32 (pixels 0..255, channels as the net has them); K values alone are K x 1 x 1."""
    mean = _read_npy(path) if _suffix(path) == ".npy" else _read_binaryproto(path)
    while mean.ndim > 3 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim == 1:
        mean = mean[:, None, None]
    if mean.ndim != 3 or not mean.size:
        shape = " x ".join(map(str, mean.shape))
        raise SpecError(f"a mean image has three axes, channels x height x width, not {shape}", Loc(str(path)))
    return mean


def write(path: str | Path, mean: np.ndarray) -> None:
    """Writes a K x H x W mean; a binaryproto has the legacy axes 1, K, H, W, which every Caffe reads."""
    mean = np.asarray(mean, np.float32)
    if mean.ndim != 3:
        raise ValueError(f"a mean image has three axes, not {mean.ndim}")
    suffix = _suffix(path)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        if suffix == ".npy":
            np.save(file, mean, allow_pickle=False)
        else:
            BlobWriter(mean[None], legacy=True).write(file)


def _suffix(path: str | Path) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SpecError(f"unknown suffix '{suffix}' of a mean image (known: {' '.join(SUFFIXES)})", Loc(str(path)))
    return suffix


def _read_binaryproto(path: str | Path) -> np.ndarray:
    with mapped.opened(path, "mean image") as data:
        return np.array(wire.blob(data, Field(0, LENGTH, 0, 0, len(data)))[0])


def _read_npy(path: str | Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return np.array(npz.array(file, os.fstat(file.fileno()).st_size))
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror or e}", Loc(str(path))) from None
    except (ValueError, EOFError) as e:
        raise SpecError(f"not a .npy array, or a damaged one: {e}", Loc(str(path))) from None
