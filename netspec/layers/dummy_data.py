"""DummyData: blobs from fillers."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.fillers import fill
from netspec.ir.words import counted
from netspec.layers.base import Layer, Shape
from netspec.lazytorch import torch

LEGACY = ("num", "channels", "height", "width")


class DummyData(Layer):
    """top = values from `data_filler`, drawn anew in each pass unless it is constant; without a filler, zeros.

    Shapes: no bottom -> `shape`, or num x channels x height x width: one for all tops, or one per top.
    Errors: shape and the older fields together, another number of shapes or fillers than 1 or that of the tops.
    Source: Caffe's DummyData.
    """

    settings = "dummy_data_param"
    bottoms = (0, 0)
    tops = (1, None)
    is_data = True

    def setup(self) -> None:
        tops, fillers = len(self.proto.top), list(self.p.data_filler)
        if len(fillers) not in (0, 1, tops):
            raise self.fail(f"{len(fillers)} data_filler for {tops} tops; give one, or one per top", "data_filler")
        self.fillers = (fillers or [schema.new("FillerParameter")]) * (1 if len(fillers) == tops else tops)
        self.constant: dict[int, torch.Tensor] = {}
        if any(len(getattr(self.p, field)) for field in LEGACY):
            self.check_legacy(tops)
        elif len(self.p.shape) not in (1, tops):
            raise self.fail(f"{len(self.p.shape)} shapes for {tops} tops; give one, or one per top", "shape")

    def check_legacy(self, tops: int) -> None:
        if self.p.shape:
            raise self.fail("give shape or num, channels, height, width, not both", "shape")
        for field in LEGACY:
            given = len(getattr(self.p, field))
            if given not in (1, tops):
                raise self.fail(
                    f"{field} is given {counted(given, 'time')} for {counted(tops, 'top')}; give one, or one per top",
                    field,
                )

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        tops = range(len(self.proto.top))
        if self.p.shape:
            return [tuple(nth(self.p.shape, i).dim) for i in tops]
        return [tuple(nth(getattr(self.p, field), i) for field in LEGACY) for i in tops]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.top(i, shape) for i, shape in enumerate(self.shapes([]))]

    def top(self, index: int, shape: Shape) -> torch.Tensor:
        """A constant top stays the same memory: what a caller writes into it stays too."""
        if index in self.constant:
            return self.constant[index]
        values = torch.empty(shape)
        fill(values, self.fillers[index])
        if self.fillers[index].type == "constant":
            self.constant[index] = values
        return values


def nth(values: Sequence, index: int):
    """The index-th value, or the only one."""
    return values[index if len(values) > 1 else 0]
