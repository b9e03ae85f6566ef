"""report.html: what it shows, that it stands alone, and that a run is the same with and without it."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solver_nets import everything, same

from netspec.data.order import RandomDraw
from netspec.layers.base import DataLayer
from netspec.report import chart
from netspec.report.chart import Axis, Series, thinned
from netspec.report.live import Report, read_log
from netspec.report.page import Run, page
from netspec.report.recipe import published_of, settings
from netspec.report.samples import Sample, chosen
from netspec.solver import Solver
from netspec.solver import settings as solver_settings

NET = """
layer { name: "data" type: "PicturesForTests" top: "data" top: "label" }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: true } }
"""
SOLVER = """
net: "net.prototxt" test_iter: 3 test_interval: 2 base_lr: 0.0001 lr_policy: "step" stepsize: 3 gamma: 0.1
momentum: 0.9 max_iter: 6 display: 1 snapshot_prefix: "snap" random_seed: 3
"""


class PicturesSource:
    """Pictures of 6 x 8 pixels in three colours, each drawn at random; labels say the strongest."""

    def __init__(self, rank: int, world: int) -> None:
        self.order = RandomDraw(20, 3, rank=rank, world=world)
        self.x = np.random.default_rng(0).normal(0, 60, size=(20, 1, 3, 6, 8)).astype("f4")

    def next(self) -> list[np.ndarray]:
        x = self.x[self.order.next()]
        return [x, x.argmax(1)[:, None].astype("f4")]

    def peek_shapes(self) -> list[tuple[int, ...]]:
        return [(1, 3, 6, 8), (1, 1, 6, 8)]

    def state(self) -> dict[str, Any]:
        return self.order.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.order.restore(state)


class PicturesForTests(DataLayer):
    """The tops of a PicturesSource."""

    def open(self) -> PicturesSource:
        return PicturesSource(self.context.rank, self.context.world)


@pytest.fixture
def solver_file(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path / "solver.prototxt"


def trained(file: Path, out: Path, watched: bool) -> Solver:
    out.mkdir(exist_ok=True)
    solver = Solver(file, out=out)
    report = Report(solver, out, seconds=0.0).watch() if watched else None
    solver.solve()
    if report:
        report.finish()
    return solver


def words(text: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", text))


def test_a_run(solver_file: Path, tmp_path: Path) -> None:
    trained(solver_file, tmp_path / "out", True)
    text = (tmp_path / "out/report.html").read_text()
    told = words(text)
    for part in ("finished", "6 of 6", "training loss", "scores in %", "IU of each class", "Validation images"):
        assert part in told, part
    for part in ("best of 12", "worst of 12", "Recipe", "stepsize", "Convolution", "http-equiv"):
        assert part in told or part in text, part
    assert text.count("data:image/jpeg;base64,") == 4 and text.count("data:image/png;base64,") == 8
    assert "refresh" not in text and "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert not [p.name for p in (tmp_path / "out").iterdir() if p.name.endswith((".tmp", ".tmp.html"))]


def test_the_run_is_the_same_without_it(solver_file: Path, tmp_path: Path) -> None:
    a, b = (trained(solver_file, tmp_path / name, name == "with") for name in ("with", "without"))
    same(everything(a), everything(b))
    logs = [
        [{k: v for k, v in r.items() if k != "seconds"} for r in read_log(tmp_path / n)] for n in ("with", "without")
    ]
    assert logs[0] == logs[1] and len(logs[0]) > 8


def test_a_killed_run_leaves_a_page(solver_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    solver = Solver(solver_file, out=out)
    Report(solver, out, seconds=0.0).watch()
    first = (out / "report.html").read_text()
    assert "nothing is logged yet" in first and 'http-equiv="refresh"' in first
    solver.step(3)
    text = (out / "report.html").read_text()
    assert "running" in words(text) and "training loss" in words(text) and text.endswith("</html>\n")


def test_it_is_not_written_at_every_iteration(
    solver_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(Solver(solver_file, out=tmp_path), tmp_path, seconds=1e9)
    written: list[str] = []
    monkeypatch.setattr(report, "write", written.append)
    report.written = 1e12
    report.after(report.solver)
    assert not written


def test_a_page_that_cannot_be_written_stops_nothing(
    solver_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    (out / "report.html").mkdir(parents=True)
    solver = trained(solver_file, out, True)
    assert solver.iter == 6
    assert caplog.text.count("training goes on without it") == 1


def test_first_best_and_worst() -> None:
    seen = [Sample(n, iu, "", "", "") for n, iu in enumerate([0.9, 0.2, 0.1, math.nan, 0.5])]
    assert [(s.number, s.word) for s in chosen(seen)] == [(0, "first, best of 5"), (1, "first"), (2, "worst of 5")]
    assert [(s.number, s.word) for s in chosen(seen[:1])] == [(0, "first")]


def test_log_of_a_resumed_run(tmp_path: Path) -> None:
    lines = [{"iteration": n, "loss": n} for n in (0, 1, 2, 3)] + [{"iteration": n, "loss": 10 + n} for n in (2, 3)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + '{"iteration": 4, "lo')
    assert [(r["iteration"], r["loss"]) for r in read_log(tmp_path)] == [(0, 0), (1, 1), (2, 12), (3, 13)]
    assert read_log(tmp_path / "nowhere") == []


def test_recipe_and_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "released").mkdir()
    (tmp_path / "net.prototxt").write_text("")
    (tmp_path / "released/fcn.prototxt").write_text(
        'train_net: "../net.prototxt" base_lr: 1e-14 lr_policy: "fixed" momentum: 0.99 snapshot_prefix: "a"'
    )
    (tmp_path / "fcn.prototxt").write_text(
        'train_net: "net.prototxt" base_lr: 1e-10 lr_policy: "fixed" iter_size: 20 snapshot_prefix: "b"'
    )
    document = solver_settings.read(tmp_path / "fcn.prototxt")
    found = settings(document, published_of(document))
    differing = {s.field: (s.value, s.published) for s in found if s.published is not None}
    assert differing == {"base_lr": ("1e-10", "1e-14"), "iter_size": ("20", "1"), "momentum": ("unset", "0.99")}
    released = solver_settings.read(tmp_path / "released/fcn.prototxt", {"momentum": 0.9})
    assert [s.field for s in settings(released, published_of(released)) if s.published] == ["momentum"]
    (tmp_path / "other.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed"')
    assert published_of(solver_settings.read(tmp_path / "other.prototxt")) is None


def test_names_stay_text() -> None:
    text = page(Run("<script>alert(1)</script>", "running", "now", 1, 2, notes={"<b>": "<i>"}))
    assert "<script" not in text and "&lt;script&gt;" in text and "<b>&lt;i&gt;</b>" in text


def test_values_that_are_no_numbers() -> None:
    records = [{"iteration": n, "loss": None, "smoothed_loss": float("nan"), "lr": 0.1} for n in range(3)]
    records.append({"iteration": 3, "test_net": 0, "loss": None, "mean_iu": None, "pixel_acc": None, "iu": [None]})
    assert "Curves" in page(Run("t", "running", "now", 1, 0, records))


def test_chart() -> None:
    assert chart.chart("empty", [Series("a", ())]) == ""
    text = chart.chart("one", [Series("a", ((0, 1.0), (10, 1.0)))])
    assert text.startswith("<svg") and "nan" not in text
    wide = chart.chart("rate", [Series("lr", ((0, 1e-2), (10, 1e-6), (20, 0.0)))], log=True)
    assert all(f">{t}<" in wide for t in ("0.01", "1e-4", "1e-6"))


@pytest.mark.parametrize(("low", "high", "ticks"), [(0, 10, [0, 2, 4, 6, 8, 10]), (0.13, 0.31, [0.15, 0.2, 0.25, 0.3])])
def test_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 100).ticks() == pytest.approx(ticks)


def test_long_curves_keep_their_peaks() -> None:
    points = [(float(n), 1.0) for n in range(10000)]
    points[5001] = (5001.0, 99.0)
    found = thinned(points)
    assert len(found) <= chart.MOST and max(y for _, y in found) == 99 and list(found) == sorted(found)


@pytest.mark.parametrize(
    ("value", "text"), [(20000, "20k"), (0.0001, "1e-4"), (0.25, "0.25"), (0, "0"), (1e-14, "1e-14")]
)
def test_short(value: float, text: str) -> None:
    assert chart.short(value) == text
