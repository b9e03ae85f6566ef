"""Solvers of Caffe's Python interface, over netspec.solver."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from netspec.ir.graph import Blob as Value
from netspec.pycaffe.net import Net
from netspec.solver import Solver as Core


class Solver:
    """`get_solver(file)`: net, test_nets, iter, lr, step, solve, restore, snapshot."""

    def __init__(self, solver_file: str) -> None:
        self.core = Core(solver_file, feed=self._feed, observe=self._observe)
        self.net = Net.over(self.core.net)
        self.test_nets = [Net.over(net) for net in self.core.test_nets]

    def _feed(self) -> dict[str, Tensor]:
        return self.net.given()

    def _observe(self, values: dict[Value, Tensor]) -> None:
        self.net.show(values)

    @property
    def iter(self) -> int:
        return self.core.iter

    @property
    def lr(self) -> float:
        return self.core.lr

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

    def snapshot(self) -> None:
        """Writes weights and state now."""
        self.core.snapshot()

    def test_all(self) -> Any:
        """Runs the test nets."""
        return self.core.test()


def get_solver(solver_file: str) -> Solver:
    """The solver of whatever type the file names."""
    return Solver(solver_file)


SGDSolver = NesterovSolver = AdaGradSolver = RMSPropSolver = AdaDeltaSolver = AdamSolver = Solver
