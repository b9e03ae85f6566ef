"""HDF5Output: writes its bottoms to an HDF5 file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch

if TYPE_CHECKING:
    from netspec.data.hdf5 import Writer

SETS = ("data", "label")


class HDF5Output(Layer):
    """The file `file_name` gets the sets `data` and `label`: the rows of both bottoms, pass below pass.

    The file appears, in place of an older one, when the net is let go or the process ends. Sets have four axes and
    float32 values; no gradient flows back.
    Shapes: N x ... and N x ..., up to four axes -> no tops.
    Errors: no file_name, bottoms of different N or of more than four axes, a folder that cannot be written to.
    Source: Caffe's HDF5Output, which ends the process in a second pass.
    """

    settings = "hdf5_output_param"
    bottoms = (2, 2)
    tops = (0, 0)
    _writer: Writer | None = None

    def setup(self) -> None:
        if not self.p.file_name:
            raise self.fail("file_name is missing or empty", "file_name")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for shape in bottoms:
            if not 1 <= len(shape) <= 4:
                raise self.fail(f"bottom {list(shape)} has {len(shape)} axes; 1 to 4 are wanted")
        if bottoms[0][0] != bottoms[1][0]:
            raise self.fail(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} differ in their first axis")
        return []

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = {name: b.detach().cpu().numpy() for name, b in zip(SETS, bottoms, strict=True)}
        self.writer().append({name: four_axes(values) for name, values in rows.items()})
        return []

    def writer(self) -> Writer:
        """Made in the first pass, so that a net can be read without touching the file."""
        from netspec.data.hdf5 import Writer

        if self._writer is None:
            self._writer = Writer(Path(self.p.file_name))
        return self._writer

    def gradient_to(self, bottom: int) -> bool:
        return False


def four_axes(values: np.ndarray) -> np.ndarray:
    """float32 with axes of 1 behind."""
    return values.astype(np.float32).reshape(values.shape + (1,) * (4 - values.ndim))
