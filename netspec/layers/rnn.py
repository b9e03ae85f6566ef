"""RNN: the simple recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import ParamBlob, Shape
from netspec.layers.recurrent import Recurrent
from netspec.lazytorch import F, torch


class RNN(Recurrent):
    """h_t = tanh(W_xh x_t + b_h + W_hh (cont_t · h_t−1) [+ W_xh_static static]); top_t = tanh(W_ho h_t + b_o).

    Without expose_hidden, h goes on from one forward pass to the next.
    Shapes: x (T x N x ...), cont (T x N), static (N x ..., may be left out); with expose_hidden also h_0 (1 x N x D)
        -> T x N x D, D = num_output; with expose_hidden also h_T (1 x N x D).
    Blobs: weight_xh (D x inputs), bias_h (D), weight_xh_static (D x static inputs; with static), weight_hh (D x D),
        weight_ho (D x D), bias_o (D).
    Errors: missing num_output; a wrong number of bottoms or tops; cont, static or a state that does not match x.
    Source: Caffe's RNN. No gradient flows to cont, to the initial state or from the final one.
    """

    unasked = True

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        d = self.p.num_output
        square = [ParamBlob(name, (d, d), self.p.weight_filler) for name in ("weight_hh", "weight_ho")]
        return [*self.input_blobs(bottoms, "h", d), *square, ParamBlob("bias_o", (d,), self.p.bias_filler)]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        inputs, cont = self.inputs(bottoms, params), bottoms[1].detach()
        weight_hh, weight_ho, bias_o = params[-3:]
        (h,) = self.initial(bottoms)
        steps = []
        for x, going in zip(inputs, cont, strict=True):
            h = torch.tanh(x + F.linear(h * going[:, None], weight_hh))
            steps.append(h)
        tops = self.finish(steps, [h])
        return [torch.tanh(F.linear(tops[0], weight_ho, bias_o)), *tops[1:]]
