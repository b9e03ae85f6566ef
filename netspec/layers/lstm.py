"""LSTM: long short-term memory over sequences."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import ParamBlob, Shape
from netspec.layers.recurrent import Recurrent, lstm_unit
from netspec.lazytorch import F, torch


class LSTM(Recurrent):
    """gates_t = W_xc x_t + b_c + W_hc (cont_t · h_t−1) [+ W_xc_static static]; (c_t, h_t) = one LSTM step; top_t = h_t.

    A step: i, f, o = σ(gates), g = tanh(gates), in the order i, f, o, g; c_t = cont_t · f · c_t−1 + i · g,
    h_t = o · tanh(c_t). Without expose_hidden, h and c go on from one forward pass to the next.
    Shapes: x (T x N x ...), cont (T x N), static (N x ..., may be left out); with expose_hidden also h_0 and c_0
        (1 x N x D) -> T x N x D, D = num_output; with expose_hidden also h_T and c_T (1 x N x D).
    Blobs: weight_xc (4 D x inputs), bias_c (4 D), weight_xc_static (4 D x static inputs; with static),
        weight_hc (4 D x D).
    Errors: missing num_output; a wrong number of bottoms or tops; cont, static or a state that does not match x.
    Source: Caffe's LSTM (Hochreiter and Schmidhuber 1997; Graves 2013). No gradient flows to cont, to the initial state
        or from the final one.
    """

    states = 2
    unasked = True

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        d = self.p.num_output
        hidden = ParamBlob("weight_hc", (4 * d, d), self.p.weight_filler)
        return [*self.input_blobs(bottoms, "c", 4 * d), hidden]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        inputs, cont = self.inputs(bottoms, params), bottoms[1].detach()
        h, c = self.initial(bottoms)
        steps = []
        for x, going in zip(inputs, cont, strict=True):
            c, h = lstm_unit(c, x + F.linear(h * going[:, None], params[-1]), going)
            steps.append(h)
        return self.finish(steps, [h, c])
