"""InnerProduct: the fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netspec.layers import large
from netspec.layers.base import Layer, ParamBlob, Shape, canonical_axis, count
from netspec.lazytorch import F, torch


class InnerProduct(Layer):
    """top[n, o] = Σ_k weight[o, k] · bottom[n, k] + bias[o], over all values k of the axes from `axis` on.

    Shapes: outer axes x K values -> outer axes x num_output, K the values from `axis` (default 1) to the end.
    Blobs: weight (num_output x K, or K x num_output with transpose), bias (num_output) unless bias_term is false.
    Errors: missing num_output, an axis outside the bottom.
    Source: Caffe's InnerProduct.
    """

    settings = "inner_product_param"
    reusable_top = True

    def setup(self) -> None:
        if self.p.num_output < 1:
            raise self.fail("num_output is missing or 0", "num_output")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        axis = canonical_axis(self, self.p.axis, bottoms[0])
        return [(*bottoms[0][:axis], self.p.num_output)]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        inputs = count(bottoms[0], canonical_axis(self, self.p.axis, bottoms[0]))
        shape = (inputs, self.p.num_output) if self.p.transpose else (self.p.num_output, inputs)
        weight = ParamBlob("weight", shape, self.p.weight_filler)
        if not self.p.bias_term:
            return [weight]
        return [weight, ParamBlob("bias", (self.p.num_output,), self.p.bias_filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0].flatten(canonical_axis(self, self.p.axis, tuple(bottoms[0].shape)))
        weight, bias = params[0], params[1] if len(params) > 1 else None
        if not self.p.transpose and large.suits(weight, prod(x.shape[:-1])):
            y = large.product(weight, x.flatten(0, -2).t(), bias)
            return [y.t().unflatten(0, x.shape[:-1])]
        return [F.linear(x, weight.t() if self.p.transpose else weight, bias)]

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return prod(bottoms[0]) * self.p.num_output
