"""N processes with iter_size k follow one process with iter_size N k."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from solver_nets import everything, write

from netspec.solver import Solver

CHILD = """
import os, sys
sys.path.insert(0, {tests!r})
import numpy as np, torch, torch.distributed as dist
torch.set_num_threads(1)
os.environ.update(RANK=sys.argv[1], WORLD_SIZE="{world}", MASTER_ADDR="127.0.0.1", MASTER_PORT="{port}")
from netspec.solver.parallel import joined
from solver_nets import Solver, everything
peers = joined("cpu")
peers.__enter__()
s = Solver({solver!r}, overrides={overrides!r})
s.step(3)
s.snapshot()
dist.barrier()
t = Solver({solver!r}, overrides={overrides!r})
t.restore("latest")
assert t.iter == 3
t.step(2)
scores = t.test()
np.savez("{folder}/rank" + sys.argv[1], loss=scores[0]["loss"], smoothed=t.smoothed_loss, **everything(t))
peers.__exit__(None, None, None)
"""
NET = """
layer { name: "data" type: "DrawnForTests" top: "data" top: "label" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "score" type: "InnerProduct" bottom: "conv" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.long
@pytest.mark.parametrize(("world", "iter_size"), [(2, 1), (2, 2), (4, 1)])
def test_ranks_are_iter_size(world, iter_size, tmp_path):
    path = write(
        tmp_path, NET, test_iter=5, test_interval=100, test_initialization="false", clip_gradients=0.5, average_loss=2
    )
    overrides = {"iter_size": iter_size}
    code = CHILD.format(
        tests=str(Path(__file__).parent),
        folder=tmp_path,
        world=world,
        port=free_port(),
        solver=path,
        overrides=overrides,
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [subprocess.Popen([sys.executable, "-c", code, str(r)], env=env) for r in range(world)]
    assert [run.wait(120) for run in runs] == [0] * world
    one = Solver(path, overrides={"iter_size": iter_size * world})
    one.step(5)
    want = {"loss": one.test()[0]["loss"], "smoothed": one.smoothed_loss, **everything(one)}
    for rank in range(world):
        with np.load(tmp_path / f"rank{rank}.npz") as got:
            for name, value in want.items():
                np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=1e-6, err_msg=f"{name} of rank {rank}")
