"""Embed: a table looked up by index."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.layers.indices import indices
from netspec.lazytorch import F, torch


class Embed(Layer):
    """top[i, ...] = weight[bottom[i]] + bias.

    Shapes: any -> the same with an axis of num_output behind.
    Blobs: weight (input_dim x num_output), bias (num_output) unless bias_term is false.
    Errors: num_output or input_dim missing or 0, an index outside 0..input_dim − 1, a gradient to the indices.
    Source: Caffe's Embed.
    """

    settings = "embed_param"
    reusable_top = True
    refuses = True

    def setup(self) -> None:
        for field in ("num_output", "input_dim"):
            if getattr(self.p, field) < 1:
                raise self.fail(f"{field} is missing or 0", field)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [(*bottoms[0], self.p.num_output)]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        weight = ParamBlob("weight", (self.p.input_dim, self.p.num_output), self.p.weight_filler)
        return [weight, ParamBlob("bias", (self.p.num_output,), self.p.bias_filler)][: 2 if self.p.bias_term else 1]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = F.embedding(indices(self, bottoms[0], self.p.input_dim, "index"), params[0])
        return [rows + params[1] if self.p.bias_term else rows]

    def gradient_to(self, bottom: int) -> bool:
        return False
