"""A run that goes on from a snapshot is the run that never stopped, bit for bit; and what snapshots survive."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from solver_nets import MOMENTUM, everything, same, write

from netspec import weights
from netspec.errors import SpecError
from netspec.solver import Solver
from netspec.solver import snapshot as snapshots

TESTED = {"test_iter": 2, "test_interval": 3, "average_loss": 4}
KILLER = """
import os, random, signal, sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from solver_nets import Solver
from netspec import weights
from netspec.solver import snapshot
from netspec.weights import solverstate

snapshots, draw = Solver({path!r}).snapshots, random.Random({seed})
newest = lambda: max(snapshots.iterations(), default=0)
for _ in range({kills}):
    before, child = newest(), os.fork()
    if not child:
        s = Solver({path!r})
        if before:
            s.restore("latest")
        s.solve(signals=True)
        os._exit(0)
    while newest() <= before:
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for k in snapshots.iterations()[:3]:  # the newest are whole
        assert solverstate.read(snapshots.state(k)).iter == k
        assert snapshot.read_extra(snapshot.Path(snapshots.extra(k)))["iteration"] == k
        weights.read(snapshots.model(k))
"""


@pytest.mark.parametrize("kind", MOMENTUM)
@pytest.mark.parametrize("end", ["BINARYPROTO", "HDF5"])
def test_resume_at_any_iteration_equals_no_resume(kind, end, tmp_path):
    fields = {"type": f'"{kind}"', "momentum": MOMENTUM[kind], "snapshot_format": end, "iter_size": 2}
    path = write(tmp_path, **TESTED, **fields, lr_policy='"inv"', gamma=0.1, power=0.5)
    whole = Solver(path)
    states = {}
    for _ in range(7):
        whole.step(1)
        states[whole.iter] = whole.snapshot()
    for k in random.Random(kind).sample(range(1, 7), 2):
        torch.manual_seed(99)
        np.random.seed(99)
        resumed = Solver(path)
        resumed.restore(states[k])
        assert resumed.iter == k
        resumed.step(7 - k)
        same(everything(resumed), everything(whole))


def test_smoothed_loss_goes_on(tmp_path):
    path = write(tmp_path, average_loss=4)
    whole = Solver(path)
    whole.step(5)
    half = Solver(path)
    half.step(3)
    state = half.snapshot()
    resumed = Solver(path)
    resumed.restore(state)
    resumed.step(2)
    assert resumed.smoothed_loss == whole.smoothed_loss
    resumed.step(1)
    assert resumed.smoothed_loss == float(next(iter(resumed.values.values())))


def test_seed_makes_runs_the_same(tmp_path):
    path = write(tmp_path, random_seed=None)
    runs = [Solver(path, seed=s) for s in (1,)]
    runs[0].step(3)
    runs.append(Solver(path, seed=1))
    runs[1].step(3)
    same(everything(runs[0]), everything(runs[1]))
    assert not np.array_equal(
        everything(Solver(path, seed=2))["conv.weight"], everything(Solver(path, seed=1))["conv.weight"]
    )


def test_latest_is_the_newest_complete_one_and_keep_deletes_others(tmp_path):
    path = write(tmp_path, snapshot=2, max_iter=9)
    s = Solver(path, keep=2)
    assert s.solve()
    names = sorted(f.name for f in tmp_path.iterdir() if f.name.startswith("snap"))
    assert names == ["snap_8.netspec", "snap_9.netspec"] + [
        f"snap_iter_{k}.{end}" for k in (8, 9) for end in ("caffemodel", "solverstate")
    ]
    (tmp_path / "snap_iter_9.caffemodel").unlink()
    t = Solver(path)
    t.restore("latest")
    assert t.iter == 8
    with pytest.raises(SpecError, match="model file is missing"):
        t.restore(tmp_path / "snap_iter_9.solverstate")


def test_a_state_without_companion_restores_with_a_warning(tmp_path, caplog):
    s = Solver(write(tmp_path))
    s.step(2)
    state = s.snapshot()
    (tmp_path / "snap_2.netspec").unlink()
    t = Solver(tmp_path / "solver.prototxt")
    t.restore(state)
    same(everything(s), everything(t))
    assert "data start anew" in caplog.text


def test_snapshot_diff_stores_what_was_taken_from_the_weights(tmp_path):
    s = Solver(write(tmp_path, snapshot_diff="true"))
    before = s.net.state_dict()["conv.weight"].numpy().copy()
    s.step(1)
    stored = next(
        x for x in weights.read(s.snapshots.model(int(Path(s.snapshot()).stem[-1]))).layers if x.name == "conv"
    )
    np.testing.assert_allclose(stored.diffs[0], before - stored.blobs[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("suffix", [".caffemodel", ".netspec", ".solverstate"])
def test_a_full_disk_leaves_the_run_alive_and_older_snapshots_whole(suffix, tmp_path, monkeypatch, caplog):
    path = write(tmp_path, snapshot=2, max_iter=6)
    real = os.fsync
    full = {"on": False}

    def fsync(fd):
        name = os.readlink(f"/proc/self/fd/{fd}")
        if full["on"] and suffix in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    s = Solver(path)
    s.step(2)
    full["on"] = True
    s.step(2)
    assert s.iter == 4
    assert "No space left" in caplog.text
    assert "training goes on" in caplog.text
    assert s.snapshots.iterations() == [2]
    assert not list(tmp_path.glob(".*tmp*")) and not list(tmp_path.glob("snap*_4.*"))
    full["on"] = False
    s.step(2)
    assert s.snapshots.iterations() == [6, 2]


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    s = Solver(write(tmp_path, max_iter=3, snapshot_prefix=f'"{tmp_path}/file/snap"'))
    with pytest.raises(SpecError, match="snapshots cannot be written to folder"):
        s.solve()
    assert s.iter == 0


def test_truncated_states_change_nothing(tmp_path):
    s = Solver(write(tmp_path))
    s.step(2)
    state = Path(s.snapshot())
    for path in (state, tmp_path / "snap_2.netspec", tmp_path / "snap_iter_2.caffemodel"):
        data = path.read_bytes()
        for size in (0, 1, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:size])
            t = Solver(tmp_path / "solver.prototxt")
            before = everything(t)
            with pytest.raises(SpecError):
                t.restore(state)
            assert t.iter == 0
            same(everything(t), before)
        path.write_bytes(data)


def test_states_of_other_nets_and_types_are_refused(tmp_path):
    s = Solver(write(tmp_path))
    s.step(1)
    state = s.snapshot()
    net = (tmp_path / "net.prototxt").read_text()
    for change, message in (
        ({"type": '"Adam"'}, "6 history blobs, this net and solver type keep 12"),
        ({"net": net.replace("num_output: 6", "num_output: 7")}, "history blob 0 is"),
        ({"net": net.replace('name: "conv"', 'name: "other"')}, "is of another net"),
    ):
        t = Solver(write(tmp_path, **{"net": net, **change}) if "net" in change else write(tmp_path, **change))
        before = everything(t)
        with pytest.raises(SpecError, match=message):
            t.restore(state)
        same(everything(t), before)
        write(tmp_path, net=net)


def test_two_runs_under_one_prefix(tmp_path):
    path = write(tmp_path, max_iter=2)
    s = Solver(path)
    lock = Path(f"{s.snapshots.prefix}.lock")
    with (
        snapshots.RunLock(str(lock)),
        pytest.raises(SpecError, match=f"another run .process {os.getpid()}. is writing"),
    ):
        s.solve()
    assert not lock.exists()
    lock.write_text("1\n")  # what a killed run leaves: nobody holds it
    assert s.solve()
    assert not lock.exists()


def killed_run(folder: Path, kills: int, seed: int) -> None:
    """Kills a run that snapshots at every iteration at random moments, each after a snapshot of its own.

    None loses a snapshot, and what goes on from the last one is the run that nobody disturbed.
    """
    path = write(folder, snapshot=1, max_iter=10**6)
    code = KILLER.format(tests=str(Path(__file__).parent), path=path, kills=kills, seed=seed)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    s = Solver(path, overrides={"snapshot": 0})
    s.restore("latest")
    assert s.iter >= kills
    s.step(3)
    undisturbed = Solver(path, overrides={"snapshot": 0})
    undisturbed.step(s.iter)
    same(everything(s), everything(undisturbed))


def test_killed_thrice(tmp_path):
    killed_run(tmp_path, 3, 1)


@pytest.mark.long
def test_killed_sixty_times(tmp_path):
    killed_run(tmp_path, 60, 2)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_after_the_iteration_with_a_snapshot(sent, tmp_path):
    s = Solver(write(tmp_path, max_iter=50))
    forward = s.net.loss

    def send(*args):
        if s.iter == 3:
            os.kill(os.getpid(), sent)
        return forward(*args)

    s.net.loss = send
    assert s.solve(signals=True) is False
    assert s.iter == 4
    assert s.snapshots.iterations() == [4]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_hangup_snapshots_and_goes_on(tmp_path):
    s = Solver(write(tmp_path, max_iter=6))
    forward = s.net.loss

    def send(*args):
        if s.iter == 3:
            os.kill(os.getpid(), signal.SIGHUP)
        return forward(*args)

    s.net.loss = send
    assert s.solve(signals=True) is True
    assert s.snapshots.iterations() == [6, 4]


def test_a_stop_during_a_test_is_as_if_it_had_not_begun(tmp_path):
    path = write(tmp_path, max_iter=8, test_iter=3, test_interval=4)
    whole = Solver(path)
    whole.solve()
    s = Solver(path)
    forward, seen = s.test_nets[0].loss, []

    def send(*args):
        seen.append(s.iter)
        if seen.count(4) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(*args)

    s.test_nets[0].loss = send
    assert s.solve(signals=True) is False
    assert s.iter == 4
    t = Solver(path)
    t.restore("latest")
    assert t.solve()
    same(everything(t), everything(whole))


def test_a_failing_log_is_told_once(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    s = Solver(write(tmp_path, display=1, max_iter=3), out=tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log.jsonl").mkdir()
    assert s.solve()
    assert caplog.text.count("training goes on without it") == 1
