"""The benchmark's contest: who takes part, who is left out and why, what is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
CALLS = """
import os
import numpy as np
from bench_turns import package

one = lambda job: lambda: np.array([1.0, 4.0])
close = lambda job: lambda: np.array([1.0, 4.0 + 0.02])
far = lambda job: lambda: np.array([1.0, 5.0])
lost = lambda job: lambda: np.array([1.0, float("nan")])
short = lambda job: lambda: np.array([1.0])
absent = lambda job: package("no_such_package_anywhere")
dead = lambda job: os._exit(3)
"""


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """tools/bench_turns.py, with contenders of its own where its workers find them."""
    (tmp_path / "calls.py").write_text(CALLS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(TOOLS)
    import bench_turns

    return bench_turns


def contest(turns: Any, folder: Path, *calls: str, precision: str = "fp32") -> list[Any]:
    jobs = [turns.Job("forward", c, f"calls:{c}", precision, (1, 3, 8, 8), str(folder), 1) for c in calls]
    return turns.compare(jobs, 3)


def test_all_take_turns(turns: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = contest(turns, tmp_path, "one", "close", precision="bf16")
    assert len(first.seconds) == len(second.seconds) == 3 and first.peak > 1
    assert second.apart == pytest.approx(0.02 / 4)
    assert turns.ratio(first, first) == 1
    assert capsys.readouterr().out == (
        "  score maps agree, relative to the largest value: bf16 within 5e-03 (allowed 5e-02)\n"
    )
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize(
    "call, why",
    [
        ("far", "its result is 2.5e-01 from that of forward fp32 one"),
        ("close", "its result is 5.0e-03 from that of forward fp32 one"),
        ("lost", "its result is nan from that of forward fp32 one"),
        ("short", "its result is inf from that of forward fp32 one"),
        ("absent", "no_such_package_anywhere is not installed: pip install 'netspec[bench]'"),
        ("dead", "its process ended with status 3"),
    ],
)
def test_who_is_left_out_and_why(
    turns: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], call: str, why: str
) -> None:
    workers = contest(turns, tmp_path, "one", call)
    assert [w.job.contender for w in workers] == ["one"]
    assert capsys.readouterr().out == f"  left out: forward fp32 {call}: {why}\n"


def test_best_peer_of_those_that_ran(turns: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import bench_nets

    def worker(name: str, seconds: float, peak: float) -> Any:
        made = object.__new__(turns.Worker)
        made.job = turns.Job("forward", name, "", "fp32", (1, 3, 8, 8), "", 1)
        made.seconds, made.peak = [seconds] * 3, peak
        return made

    timed = [worker("eager", 2.0, 100.0), worker("openvino", 1.0, 150.0), worker("netspec", 0.75, 90.0)]
    rows = bench_nets.print_goals({("forward", "fp32", w.job.contender): w for w in timed})
    assert [(r["what"], r["rival"], r["ratio"]) for r in rows] == [
        ("time", "openvino fp32", 0.75),
        ("memory", "eager fp32", 0.9),
    ]
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "forward fp32 time: netspec / openvino fp32, the best peer 0.75 goal 0.80, met",
        "forward fp32 memory: netspec / eager fp32 0.90 goal 0.80, missed",
    ]
