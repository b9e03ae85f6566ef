"""Training on GPUs, where there are any: the update rules, exact resume, bf16, and processes connected by NCCL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from solver_nets import MOMENTUM, everything, same, write
from test_parallel import CHILD, free_port
from test_parallel import NET as SHARED_NET

from netspec.solver import Solver
from netspec.solver.rules import Learned, Update
from netspec.spec import text

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
SEVERAL = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs here")


def moved(device: str, **fields: Any) -> list[torch.Tensor]:
    """Weights and history after five updates by seeded gradients."""
    draw = torch.Generator().manual_seed(1)
    shapes = [(5, 3), (7,), (40, 1000)]
    learned = [
        Learned(str(i), torch.nn.Parameter(torch.randn(s, generator=draw).to(device)), 1.0 + i, 1.0 - i / 2)
        for i, s in enumerate(shapes)
    ]
    lines = "\n".join(f"{k}: {v}" for k, v in fields.items())
    update = Update(text.parse(lines, "<solver>", "SolverParameter"), learned)
    for i in range(5):
        for p in learned:
            p.tensor.grad = torch.randn(p.tensor.shape, generator=draw).to(device)
        update.apply(0.1 / (i + 1), i, 2, keep=i == 3)
    return [p.tensor.detach().cpu() for p in learned] + [h.cpu() for h in update.stored()]


@pytest.mark.parametrize("kind", MOMENTUM)
@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("clip", [-1, 0.5])
def test_rules_on_a_gpu_are_those_on_a_cpu(kind, norm, clip):
    fields = {"type": f'"{kind}"', "momentum": MOMENTUM[kind], "weight_decay": 0.01, "delta": 1e-4}
    fields |= {"regularization_type": f'"{norm}"', "clip_gradients": clip}
    for a, b in zip(moved("cuda", **fields), moved("cpu", **fields), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MOMENTUM)
def test_resume_is_exact(kind, tmp_path):
    path = write(tmp_path, type=f'"{kind}"', momentum=MOMENTUM[kind], test_iter=2, test_interval=3)
    whole = Solver(path, device="cuda")
    whole.step(3)
    state = whole.snapshot()
    whole.step(4)
    torch.manual_seed(9)
    other = Solver(path, device="cuda")
    other.restore(state)
    other.step(4)
    same(everything(other), everything(whole))


def test_snapshots_go_between_gpu_and_cpu(tmp_path):
    path = write(tmp_path, SHARED_NET)
    ends = []
    for first, second in (("cuda", "cpu"), ("cpu", "cuda")):
        s = Solver(path, device=first)
        s.step(3)
        t = Solver(path, device=second)
        t.restore(s.snapshot())
        t.step(3)
        ends.append(everything(t))
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_bf16_keeps_weights_in_fp32(tmp_path):
    path = write(tmp_path)
    runs = {kind: Solver(path, device="cuda", precision=kind) for kind in ("fp32", "bf16")}
    for s in runs.values():
        s.step(5)
        assert {p.dtype for p in s.net.parameters()} == {torch.float32}
    assert runs["bf16"].smoothed_loss == pytest.approx(runs["fp32"].smoothed_loss, rel=0.1)
    assert runs["bf16"].smoothed_loss != runs["fp32"].smoothed_loss


ALONE = """
import os, torch, torch.distributed as dist
os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="{port}")
from netspec.solver.parallel import Ranks, joined
with joined("cuda") as device:
    assert dist.get_backend() == "nccl" and device == torch.device("cuda", 0)
    ranks = Ranks(device)
    ranks.world = 2  # as if there were peers: what is sent comes back
    values = [torch.ones(3, device=device), torch.ones(2, 2, device=device)]
    ranks.add(values)
    ranks.same(values)
    assert all(bool((v == 1).all()) for v in values)
    assert ranks.sums([2.5, True]) == [2.5, 1.0]
"""


def test_nccl_connects_gpus():
    subprocess.run([sys.executable, "-c", ALONE.format(port=free_port())], check=True)


@SEVERAL
def test_gpus_are_iter_size(tmp_path):
    path, world = write(tmp_path, SHARED_NET, test_iter=5, test_interval=100, test_initialization="false"), 2
    code = CHILD.format(
        tests=str(Path(__file__).parent), folder=tmp_path, world=world, port=free_port(), solver=path, overrides={}
    )
    code = code.replace('joined("cpu")', 'joined("cuda")').replace("overrides={}", 'overrides={}, device="cuda"')
    code = code.replace("os.environ.update(", "os.environ.update(LOCAL_RANK=sys.argv[1], ")
    runs = [subprocess.Popen([sys.executable, "-c", code, str(r)]) for r in range(world)]
    assert [run.wait(120) for run in runs] == [0] * world
    one = Solver(path, device="cuda", overrides={"iter_size": world})
    one.step(5)
    for rank in range(world):
        with np.load(tmp_path / f"rank{rank}.npz") as got:
            for name, value in everything(one).items():
                np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5, err_msg=f"{name} of rank {rank}")
