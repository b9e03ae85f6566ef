"""Log: the logarithm to a base."""

from __future__ import annotations

from math import log

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Log(Elementwise):
    """y = log_base(shift + scale · x); base −1 stands for e.

    Shapes: any -> the same.
    Errors: a base that is neither positive nor −1; base 1.
    Source: Caffe's Log.
    """

    settings = "log_param"

    def setup(self) -> None:
        if self.p.base != -1 and not 0 < self.p.base < float("inf"):
            raise self.fail(f"base {self.p.base:g} must be positive, or -1 for e", "base")
        if self.p.base == 1:
            raise self.fail("base 1 has no logarithm", "base")
        self.log_base = 1.0 if self.p.base == -1 else log(self.p.base)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.log(x * self.p.scale + self.p.shift)
        return y if self.log_base == 1 else y / self.log_base
