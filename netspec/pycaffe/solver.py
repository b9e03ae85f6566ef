"""Solvers of Caffe's Python interface, over netspec.solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from netspec.errors import SpecError
from netspec.ir.graph import Blob as Value
from netspec.passes.insert_splits import insert_splits
from netspec.pycaffe import mode
from netspec.pycaffe.net import Net
from netspec.solver.solver import Solver as Core


class Solver:
    """`get_solver(file)`: net, test_nets, iter, lr, step, solve, restore, snapshot, apply_update, add_callback, param.

    The nets run where `set_mode_gpu` or `set_mode_cpu` said when the solver was made.
    """

    type = ""
    """The rule that this class asks for; any when empty."""

    def __init__(self, solver_file: str | Path) -> None:
        self.core = Core(
            solver_file,
            context=replace(mode.context(), folder=None),
            device=mode.device(),
            feed=self._feed,
            test_feed=self._test_feed,
            observe=self._observe,
            interp=False,
            rewrite=insert_splits,
            passes=self._pass,
        )
        if self.type and self.core.param.type != self.type:
            raise SpecError(f"{solver_file} asks for type '{self.core.param.type}', not '{self.type}'; use get_solver")
        self.net = Net.over(self.core.net, self.core.device)
        self.test_nets = [Net.over(net, self.core.device) for net in self.core.test_nets]

    def _feed(self) -> dict[str, Tensor]:
        return self.net.layered.given()

    def _test_feed(self, number: int) -> dict[str, Tensor]:
        return self.test_nets[number].layered.given()

    def _observe(self, values: dict[Value, Tensor]) -> None:
        self.net.layered.show(values)

    def _pass(self, backward: bool) -> tuple[float, dict[Value, Tensor]] | None:
        """A pass layer by layer, where a script wants to be called at each."""
        layered = self.net.layered
        if not any(layered.callbacks.values()):
            return None
        loss = layered.forward(0, layered.end)
        if backward:
            layered.backward(layered.end, 0)
        return loss, {value: layered.blobs[value.name].tensor() for value in layered.graph.outputs}

    @property
    def iter(self) -> int:
        return self.core.iter

    @property
    def lr(self) -> float:
        """The rate of the coming update."""
        return self.core.lr

    @property
    def param(self) -> Any:
        """The SolverParameter, as read."""
        return self.core.param

    def step(self, n: int) -> None:
        """Runs n iterations."""
        self.core.step(n)

    def solve(self, resume_file: str | None = None) -> None:
        """Trains to max_iter, perhaps from a snapshot."""
        if resume_file:
            self.restore(resume_file)
        self.core.solve()

    def restore(self, state_file: str) -> None:
        """Goes on from a `.solverstate` or `.solverstate.h5`."""
        self.core.restore(state_file)
        self.net.layered.forget_arrays()

    def snapshot(self) -> None:
        """Writes weights and state now."""
        self.net.layered.sync()
        self.core.snapshot()

    def apply_update(self) -> None:
        """Moves the weights by the diffs they have; for loops of one's own over net.forward and net.backward."""
        self.net.layered.sync()
        self.core.apply_update()

    def add_callback(self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any]) -> None:
        """Calls one before every iteration's first pass, the other when its gradients are there."""
        self.core.on_start.append(on_start)
        self.core.on_gradients.append(on_gradients_ready)

    def share_weights(self, net: Net) -> None:
        """The net takes the weights of the training net, layer by name, and follows them."""
        net.share_with(self.net)

    def test_all(self) -> Any:
        """Runs the test nets."""
        return self.core.test()


class SGDSolver(Solver):
    type = "SGD"


class NesterovSolver(Solver):
    type = "Nesterov"


class AdaGradSolver(Solver):
    type = "AdaGrad"


class RMSPropSolver(Solver):
    type = "RMSProp"


class AdaDeltaSolver(Solver):
    type = "AdaDelta"


class AdamSolver(Solver):
    type = "Adam"


def get_solver(solver_file: str | Path) -> Solver:
    """The solver of the type that the file names."""
    solver = Solver(solver_file)
    for cls in Solver.__subclasses__():
        if cls.type == solver.core.param.type:
            solver.__class__ = cls
    return solver
