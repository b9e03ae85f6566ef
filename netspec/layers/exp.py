"""Exp: a power of a base."""

from __future__ import annotations

from math import log

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import torch


class Exp(Elementwise):
    """y = base ^ (shift + scale · x); base −1 stands for e.

    Shapes: any -> the same.
    Errors: a base that is neither positive nor −1.
    Source: Caffe's Exp.
    """

    settings = "exp_param"
    reusable_top = False

    def setup(self) -> None:
        if self.p.base != -1 and not 0 < self.p.base < float("inf"):
            raise self.fail(f"base {self.p.base:g} must be positive, or -1 for e", "base")
        self.log_base = 1.0 if self.p.base == -1 else log(self.p.base)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x * (self.log_base * self.p.scale) + self.log_base * self.p.shift)
