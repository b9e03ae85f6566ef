"""What LSTM, RNN and LSTMUnit share: sequences in time-major order, the state between passes, and the LSTM step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from netspec.errors import LayerError, SpecError
from netspec.ir.words import counted
from netspec.layers.base import Layer, ParamBlob, Shape, count
from netspec.lazytorch import F, torch


class Recurrent(Layer, abstract=True):
    """state_t, top_t = step(cont_t · state_t−1, x_t, static); without expose_hidden a pass begins where the last ended.

    Shapes: x (T x N x ...), cont (T x N; 0 where a sequence starts), perhaps static (N x ...), with expose_hidden the
        initial state -> T x N x num_output, with expose_hidden also the final state. A state is 0 at first.
    """

    settings = "recurrent_param"
    bottoms = (2, None)
    tops = (1, None)
    states = 1
    """How many blobs the state has."""

    def setup(self) -> None:
        if self.p.num_output < 1:
            raise self.fail("num_output is missing or 0", "num_output")
        exposed = self.states if self.p.expose_hidden else 0
        given, tops = len(self.proto.bottom), len(self.proto.top)
        if given - exposed not in (2, 3):
            wanted = f"{2 + exposed}, or {3 + exposed} with a static input"
            raise LayerError(f"has {counted(given, 'bottom')} and takes {wanted}", field="bottom")
        if tops != 1 + exposed:
            raise LayerError(f"has {counted(tops, 'top')} and takes {1 + exposed}", field="top")
        self.static = given - exposed == 3
        self.state: list[torch.Tensor] = []

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        x, cont = bottoms[:2]
        if len(x) < 3:
            raise self.fail(f"bottom 0 {list(x)} must have at least three axes: steps, streams, values")
        if cont != x[:2]:
            raise self.fail(f"bottom 1 {list(cont)} must be {list(x[:2])}: steps, streams")
        if self.static and bottoms[2][:1] != x[1:2]:
            raise self.fail(f"bottom 2 {list(bottoms[2])} must have {x[1]} streams on its first axis")
        if self.static and len(bottoms[2]) < 2:
            raise self.fail(f"bottom 2 {list(bottoms[2])} must have at least two axes: streams, values")
        state = (1, x[1], self.p.num_output)
        for index, shape in enumerate(bottoms[3 if self.static else 2 :], 3 if self.static else 2):
            if count(shape) != count(state):
                raise self.fail(f"bottom {index} {list(shape)} must be {list(state)}: an initial state")
        return [(x[0], x[1], self.p.num_output), *[state] * (len(self.proto.top) - 1)]

    def input_blobs(self, bottoms: Sequence[Shape], hidden: str, rows: int) -> list[ParamBlob]:
        """The weights from x and from the static input into `rows` values, and their bias."""
        blobs = [
            ParamBlob(f"weight_x{hidden}", (rows, count(bottoms[0], 2)), self.p.weight_filler),
            ParamBlob(f"bias_{hidden}", (rows,), self.p.bias_filler),
        ]
        if self.static:
            shape = (rows, count(bottoms[2], 1))
            blobs.append(ParamBlob(f"weight_x{hidden}_static", shape, self.p.weight_filler))
        return blobs

    def inputs(self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor]) -> torch.Tensor:
        """What x, the static input and the bias bring to every step: T x N x rows."""
        y = F.linear(bottoms[0].flatten(2), params[0], params[1])
        return y + F.linear(bottoms[2].flatten(1), params[2]) if self.static else y

    def initial(self, bottoms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The state before the first step, N x num_output each; no gradient flows to it."""
        x = bottoms[0]
        shape = (x.shape[1], self.p.num_output)
        if self.p.expose_hidden:
            return [b.detach().reshape(shape) for b in bottoms[-self.states :]]
        if not self.state or self.state[0].shape != shape:
            return [x.new_zeros(shape) for _ in range(self.states)]
        return [s.to(x.device) for s in self.state]

    def finish(self, steps: list[torch.Tensor], state: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The tops; keeps the final state for the next pass. No gradient flows from it."""
        final = [s.detach() for s in state]
        if not self.p.expose_hidden:
            self.state = final
            return [torch.stack(steps)]
        return [torch.stack(steps), *[s[None] for s in final]]

    def memory(self) -> Any:
        """The state that the next pass begins with, a list of rows for each of its blobs."""
        return [s.tolist() for s in self.state]

    def recall(self, memory: Any) -> None:
        try:
            self.state = [torch.tensor(rows, dtype=torch.float32) for rows in memory]
        except (TypeError, ValueError, RuntimeError):
            self.state = []
            raise SpecError("the saved state of a recurrent layer is none") from None

    def gradient_to(self, bottom: int) -> bool:
        return bottom == 0 or (self.static and bottom == 2)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        steps, streams = bottoms[0][:2]
        matrices = [blob for blob in self.params(bottoms) if len(blob.shape) == 2]
        static = [blob for blob in matrices if blob.name.endswith("_static")]
        each = sum(count(blob.shape) for blob in matrices if blob not in static)
        return streams * (steps * each + sum(count(blob.shape) for blob in static))


def lstm_unit(cell: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One step: (c, h) of c_prev (... x D), gates (... x 4 D: input, forget, output, candidate) and cont (...).

    i, f, o = σ of the first three, g = tanh of the last; f is multiplied by cont; c = f · c_prev + i · g and
    h = o · tanh c. The gradient takes f (1 − f) for the forget gate with f already multiplied; cont takes none.
    """
    return _unit()(cell, gates, cont)


@lru_cache(maxsize=1)
def _unit() -> Any:
    class Unit(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, cell: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            i, f, o, g = gates.chunk(4, -1)
            i, f, o, g = i.sigmoid(), f.sigmoid() * cont[..., None], o.sigmoid(), g.tanh()
            new = f * cell + i * g
            bent = new.tanh()
            ctx.save_for_backward(cell, i, f, o, g, bent)
            return new, o * bent

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            cell, i, f, o, g, bent = ctx.saved_tensors
            dc, dh = grads
            dc = dc + dh * o * (1 - bent * bent)
            di, df, dg = dc * g * i * (1 - i), dc * cell * f * (1 - f), dc * i * (1 - g * g)
            return dc * f, torch.cat([di, df, dh * bent * o * (1 - o), dg], -1), None

    return Unit.apply
