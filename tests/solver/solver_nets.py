"""Small nets and solvers for the tests of this folder, and a data layer that knows its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netspec.data.order import RandomDraw
from netspec.layers.base import DataLayer
from netspec.solver import Solver
from netspec.spec import text


class DrawnSource:
    """Batches of 4 out of 20 items, each drawn at random from the seed."""

    def __init__(self, rank: int, world: int) -> None:
        self.order = RandomDraw(20, 3, rank=rank, world=world)
        values = np.random.default_rng(0)
        self.x = values.normal(size=(20, 4, 3, 4, 4)).astype("f4")
        self.y = (self.x.mean(axis=(2, 3, 4)) > 0).astype("f4") + (self.x[:, :, 0, 0, 0] > 0)

    def next(self) -> list[np.ndarray]:
        i = self.order.next()
        return [self.x[i], self.y[i]]

    def peek_shapes(self) -> list[tuple[int, ...]]:
        return [self.x[0].shape, self.y[0].shape]

    def state(self) -> dict[str, Any]:
        return self.order.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.order.restore(state)


class DrawnForTests(DataLayer):
    """The tops of a DrawnSource."""

    def open(self) -> DrawnSource:
        return DrawnSource(self.context.rank, self.context.world)


DRAWN = 'layer { name: "data" type: "DrawnForTests" top: "data" top: "label" }'
NET = (
    DRAWN
    + """
layer { name: "noise" type: "DummyData" top: "noise"
  dummy_data_param { shape { dim: 4 dim: 3 dim: 4 dim: 4 } data_filler { type: "gaussian" std: 0.1 } } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "noise" top: "sum" include { phase: TRAIN } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "data" top: "sum" include { phase: TEST } }
layer { name: "quiet" type: "Silence" bottom: "noise" include { phase: TEST } }
layer { name: "conv" type: "Convolution" bottom: "sum" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "frozen" type: "InnerProduct" bottom: "conv" top: "frozen" param { lr_mult: 0 } param { lr_mult: 0 }
  inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "score" type: "InnerProduct" bottom: "frozen" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
)
SEGMENT = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: true } }
"""
MOMENTUM = {"SGD": 0.9, "Nesterov": 0.9, "AdaGrad": 0, "RMSProp": 0, "AdaDelta": 0.9, "Adam": 0.9}


def solver_text(**fields: Any) -> str:
    """A solver: SGD at 0.05 and the fields given; a field may be a list."""
    fields = {
        "base_lr": 0.05,
        "lr_policy": '"fixed"',
        "momentum": 0.9,
        "weight_decay": 0.01,
        "random_seed": 5,
        **fields,
    }
    several = [(k, one) for k, v in fields.items() for one in (v if isinstance(v, list) else [v])]
    return "\n".join(f"{k}: {v}" for k, v in several if v is not None)


def write(folder: Path, net: str = NET, **fields: Any) -> str:
    """A solver file with its net in a folder; snapshots go to `snap` there."""
    (folder / "net.prototxt").write_text(net)
    fields = {"net": '"net.prototxt"', "snapshot_prefix": f'"{folder}/snap"', **fields}
    (folder / "solver.prototxt").write_text(solver_text(**fields))
    return str(folder / "solver.prototxt")


def solver(net: str = SEGMENT, **kwargs: Any) -> Solver:
    """A solver without files; keyword arguments that Solver does not know are fields."""
    known = {k: kwargs.pop(k) for k in list(kwargs) if k in Solver.__init__.__kwdefaults__}
    document = text.parse(f"net_param {{ {net} }}\n" + solver_text(**kwargs), "<text>", "SolverParameter")
    return Solver(document, **known)


def everything(s: Solver) -> dict[str, np.ndarray]:
    """Weights and history."""
    out = {k: v.detach().cpu().numpy().copy() for k, v in s.net.state_dict().items()}
    return out | {f"history {i}": h.cpu().numpy().copy() for i, h in enumerate(s.update.stored())}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
