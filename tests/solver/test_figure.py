"""Pictures of runs: what they show, in which form, and what is refused."""

from __future__ import annotations

import sys

import pytest

from netspec.errors import SpecError
from netspec.solver import figure
from netspec.solver.logs import Log, Row


def run(path, end: int = 5) -> Log:
    rows = [Row(i, loss=1 / (i + 1), lr=0.1 if i < 3 else 0.01, raw_loss=1.1 / (i + 1)) for i in range(end)]
    tests = [
        Row(i, loss=0.5, outputs={"accuracy": [0.1 * i], "loss": [5.0]}, weights={"loss": 0.1}, scores={"mean_iu": 0.3})
        for i in (0, 4)
    ]
    return Log(path, rows, {0: tests})


def test_curves(tmp_path):
    log = run(tmp_path / "a.log")
    assert [(c.name, c.faint) for c in figure.losses(log)] == [
        ("each iteration", True),
        ("training", False),
        ("test", False),
    ]
    assert [c.name for c in figure.scores(log)] == ["accuracy", "mean IU"]
    assert [c.points[3] for c in figure.rates(log)] == [(3, 0.01)]
    log.tests[1] = log.tests[0]
    assert [c.name for c in figure.losses(log)][2:] == ["test 0", "test 1"]


def test_names(tmp_path):
    a, b = run(tmp_path / "x" / "log.jsonl"), run(tmp_path / "y" / "log.jsonl")
    assert figure.names([a, b]) == ["x", "y"]
    assert figure.names([a, a]) == [f"{a.path} (1)", f"{a.path} (2)"]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_forms(suffix, start, tmp_path):
    pytest.importorskip("matplotlib")
    logs = [run(tmp_path / "a.log"), run(tmp_path / "b.log", 9), Log(tmp_path / "c.log", [Row(0, float("nan"))])]
    made = []
    for _ in range(2):
        figure.draw(logs, tmp_path / f"p{suffix}")
        made.append((tmp_path / f"p{suffix}").read_bytes())
    assert made[0].startswith(start)
    assert made[0] == made[1]
    if suffix == ".svg":
        for words in (b">loss<", b">scores<", b">learning rate<", b">a<", b">b<", b">training<", b">mean IU<"):
            assert words in made[0]
    figure.draw(logs[:1], tmp_path / f"p{suffix}")


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="does not end in .png, .svg, .pdf"):
        figure.draw([run(tmp_path / "a")], tmp_path / "p.gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SpecError, match="need the package matplotlib: pip install matplotlib"):
        figure.draw([run(tmp_path / "a")], tmp_path / "p.png")
