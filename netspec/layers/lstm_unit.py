"""LSTMUnit: one step of an LSTM."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape
from netspec.layers.recurrent import lstm_unit
from netspec.lazytorch import torch


class LSTMUnit(Layer):
    """c = cont · σ(f) · c_prev + σ(i) · tanh(g), h = σ(o) · tanh(c), where gates = (i, f, o, g).

    Shapes: c_prev (1 x N x D), gates (1 x N x 4 D), cont (1 x N) -> c, h (1 x N x D).
    Errors: another number of axes; more than one step; numbers of streams or of gates that do not match.
    Source: Caffe's LSTMUnit, what an LSTM is made of. cont takes no gradient.
    """

    bottoms = (3, 3)
    tops = (2, 2)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        cell, gates, cont = bottoms
        if len(cell) != 3 or cell[0] != 1:
            raise self.fail(f"bottom 0 {list(cell)} must be 1 x streams x cells")
        if gates != (1, cell[1], 4 * cell[2]):
            raise self.fail(f"bottom 1 {list(gates)} must be {[1, cell[1], 4 * cell[2]]}: four gates per cell")
        if cont != (1, cell[1]):
            raise self.fail(f"bottom 2 {list(cont)} must be {[1, cell[1]]}: one marker per stream")
        return [cell, cell]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        return list(lstm_unit(bottoms[0], bottoms[1], bottoms[2].detach()))

    def gradient_to(self, bottom: int) -> bool:
        return bottom < 2
