"""Forms of layers over sequences. The state they start from is 0, or what the net gives them (expose_hidden)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.export.forms import Arg, Code, Form, Member, Site, form
from netspec.export.nodes import Body, Nodes


class Recurrent(Form):
    """What LSTM and RNN share: steps are a loop, in ONNX a Scan."""

    traced = False
    helpers: tuple[str, ...] = ()
    states = 1

    def reset(self, site: Site) -> None:
        site.layer.state = []

    def code(self, site: Site) -> Code:
        members = [linear(site.params[0], site.params[1], "x"), linear(self.hidden(site), None, "h")]
        text = "{m0}({0}.flatten(2))" if site.rank > 3 else "{m0}({0})"
        extra = self.more(site)
        if site.layer.static:
            text += f" + {{m{2 + len(extra)}}}({{2}}.flatten(1))"
            extra = [*extra, linear(site.params[2], None, "static")]
        given = [f"{{{i}}}" for i in range(len(site.bottoms) - self.states, len(site.bottoms))]
        modules = [f"{{m{i}}}" for i in range(1, 2 + len(self.more(site)))]
        call = f"{self.helpers[-1]}({', '.join([text, '{1}', *modules, *(given if site.p.expose_hidden else [])])})"
        joint = len(site.tops) > 1
        return Code((call if joint else f"{call}[0]",), (*members, *extra), joint=joint, helpers=self.helpers)

    def hidden(self, site: Site) -> np.ndarray:
        """The weight from one step to the next."""
        raise NotImplementedError

    def more(self, site: Site) -> list[Member]:
        """Members besides those for the bottoms and from step to step."""
        return []

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        body = g.inner()
        inputs = [body.name(f"{site.name}/{n}") for n in ("step", "cont", *"hc"[: self.states])]
        step, cont, *state = inputs
        kept = body.add("Mul", state[0], cont)
        gates = body.add("Add", step, body.add("MatMul", kept, g.values(self.hidden(site).T, "weight_h")))
        state_out = self.step(body, gates, cont, state)
        outputs = [*state_out, body.add("Identity", state_out[0])]
        scan = Body(body.nodes, [*state, step, cont], outputs)
        start = self.start(site, g, x)
        going = g.add("Unsqueeze", x[1], g.ints(2))
        made = g.several(
            "Scan", *start, self.inputs(site, g, x), going, outputs=len(outputs), body=scan, num_scan_inputs=2
        )
        final = [g.add("Unsqueeze", s, g.ints(0)) for s in made[:-1]] if site.p.expose_hidden else []
        return [self.result(site, g, made[-1]), *final]

    def inputs(self, site: Site, g: Nodes, x: list[str]) -> str:
        """What the bottoms bring to every step."""
        rows = g.add("Reshape", x[0], g.ints(0, 0, site.params[0].shape[1]))
        y = g.add("MatMul", rows, g.values(site.params[0].T, "weight_x"))
        y = g.add("Add", y, g.values(site.params[1], "bias"))
        if not site.layer.static:
            return y
        flat = g.add("Flatten", x[2], axis=1)
        return g.add("Add", y, g.add("MatMul", flat, g.values(site.params[2].T, "weight_static")))

    def start(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        width = site.p.num_output
        if site.p.expose_hidden:
            return [g.add("Reshape", s, g.ints(-1, width)) for s in x[-self.states :]]
        zeros = g.add("ConstantOfShape", g.join(g.shape(x[0], 1, 2), g.ints(width)))
        return [zeros] * self.states

    def step(self, g: Nodes, gates: str, cont: str, state: list[str]) -> Sequence[str]:
        """The state after a step."""
        raise NotImplementedError

    def result(self, site: Site, g: Nodes, steps: str) -> str:
        return steps


@form("LSTM")
class LSTM(Recurrent):
    helpers = ("lstm_unit", "lstm")
    states = 2

    def hidden(self, site: Site) -> np.ndarray:
        return site.params[-1]

    def step(self, g: Nodes, gates: str, cont: str, state: list[str]) -> Sequence[str]:
        return lstm_step(g, gates, cont, state[1])


@form("RNN")
class RNN(Recurrent):
    helpers = ("rnn",)

    def hidden(self, site: Site) -> np.ndarray:
        return site.params[-3]

    def more(self, site: Site) -> list[Member]:
        return [linear(site.params[-2], site.params[-1], "out")]

    def step(self, g: Nodes, gates: str, cont: str, state: list[str]) -> Sequence[str]:
        return [g.add("Tanh", gates)]

    def result(self, site: Site, g: Nodes, steps: str) -> str:
        y = g.add("MatMul", steps, g.values(site.params[-2].T, "weight_out"))
        return g.add("Tanh", g.add("Add", y, g.values(site.params[-1], "bias_out")))


@form("LSTMUnit")
class LSTMUnit(Form):
    def code(self, site: Site) -> Code:
        return Code(("lstm_unit({0}, {1}, {2}[..., None])",), joint=True, helpers=("lstm_unit",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        h, c = lstm_step(g, x[1], g.add("Unsqueeze", x[2], g.ints(2)), x[0])
        return [c, h]


def lstm_step(g: Nodes, gates: str, cont: str, cell: str) -> tuple[str, str]:
    """h and c after one step."""
    i, f, o, new = g.several("Split", gates, outputs=4, axis=-1)
    i, f, o = (g.add("Sigmoid", gate) for gate in (i, f, o))
    kept = g.add("Mul", g.add("Mul", f, cont), cell)
    c = g.add("Add", kept, g.add("Mul", i, g.add("Tanh", new)))
    return g.add("Mul", o, g.add("Tanh", c)), c


def linear(weight: np.ndarray, bias: np.ndarray | None, name: str) -> Member:
    """A fully connected member."""
    args = (Arg("in_features", weight.shape[1]), Arg("out_features", weight.shape[0]))
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return Member("nn.Linear", (*args, Arg("bias", bias is not None, True)), state, name)
