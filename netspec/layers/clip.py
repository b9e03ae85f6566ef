"""Clip: values held between two bounds."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Clip(Elementwise):
    """y = max(min, min(x, max)), where `min` and `max` are settings.

    Shapes: any -> the same.
    Errors: a missing bound, min above max.
    Source: Caffe's Clip; the gradient passes at both bounds and is 0 beyond. In place, Caffe passes every gradient;
        here the bounds count in any case.
    """

    settings = "clip_param"

    def setup(self) -> None:
        for field in ("min", "max"):
            if not self.p.HasField(field):
                raise self.fail(f"{field} is missing", field)
        if self.p.min > self.p.max:
            raise self.fail(f"min {self.p.min:g} is above max {self.p.max:g}", "min")

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(self.p.min, self.p.max)
