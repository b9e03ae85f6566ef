"""fp32, or bf16: forward and backward in bfloat16 where torch finds it safe, everything that adds up in float32.

Weights, history, gradients of weights and losses stay in float32; bfloat16 has float32's range, so nothing is scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from netspec.errors import SpecError
from netspec.net import Net

KINDS = ("fp32", "bf16")


class Precision:
    """`with precision(): ...` around a pass."""

    def __init__(self, kind: str, device: torch.device) -> None:
        if kind not in KINDS:
            raise SpecError(f"precision '{kind}' is unknown (known: {', '.join(KINDS)})")
        self.kind, self.device = kind, device

    def __call__(self) -> AbstractContextManager[Any]:
        if self.kind == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def prepare(self, net: Net) -> None:
        """Makes the loss layers of a net compute in float32."""
        if self.kind == "fp32":
            return
        for step in net.steps:
            if step.layer.loss or any(top in net.losses for top in step.spec.tops):
                step.layer.forward = self._in_float32(step.layer.forward)

    def _in_float32(self, forward: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
        def run(bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
            with torch.autocast(self.device.type, enabled=False):
                return forward([b.float() for b in bottoms], params)

        return run
