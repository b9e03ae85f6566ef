"""netspec solve: trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb

if TYPE_CHECKING:
    from netspec.solver.solver import Solver


@verb()
@click.argument("solver", type=click.Path())
@opt.weights
@click.option("--resume", metavar="STATE", help="Go on from a .solverstate, or from the newest one: latest.")
@click.option("--iterations", type=click.IntRange(1), help="Stop after so many, whatever max_iter says.")
@opt.data
@opt.device
@opt.precision
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same run, bit for bit, on one machine.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for snapshots, log.jsonl, report.html and pictures; by default that of snapshot_prefix.",
)
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Override a solver field; repeatable.")
@click.option("--score-every", type=click.IntRange(1), default=None, help="Iterations between segmentation scores.")
@click.option("--keep", type=click.IntRange(1), help="How many snapshots stay; all unless given.")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="Folder for TensorBoard's events.")
@click.option("--recompute", is_flag=True, help="Less memory: backward runs layers again instead of keeping all.")
@opt.no_pass
@click.option("--no-interp", is_flag=True, help="Leave unfilled frozen upsampling layers at zero, as Caffe does.")
def command(
    solver: str,
    weights: tuple[str, ...],
    resume: str | None,
    iterations: int | None,
    data_root: Path | None,
    sample: bool,
    device: str,
    precision: str,
    seed: int | None,
    out: Path | None,
    overrides: tuple[str, ...],
    score_every: int | None,
    keep: int | None,
    tensorboard: Path | None,
    recompute: bool,
    no_pass: tuple[str, ...],
    no_interp: bool,
) -> int:
    """Train the net of a solver file as Caffe does.

    SIGINT and SIGTERM finish the iteration, snapshot and exit 130; SIGHUP snapshots and goes on.
    Under torchrun it trains data-parallel; the first process alone writes and prints.

    \b
    Example: netspec solve solvers/voc-fcn8s.prototxt --weights voc-fcn16s.caffemodel --data-root ~/voc
             netspec solve solvers/examples/sample-fcn8s.prototxt --sample --out out/demo
    """
    from rich.console import Console

    from netspec.cli._progress import bar, caffe_log
    from netspec.layers import Context
    from netspec.solver.parallel import joined
    from netspec.solver.solver import Solver

    console = Console(stderr=True)
    opt.make_folder(out)
    with joined(opt.read_device(device)) as place, caffe_log(console):
        opt.quieten_other_ranks()
        run = Solver(
            solver,
            weights=opt.read_files(weights) or None,
            context=Context(data_root=data_root, sample=sample, no_pass=frozenset(no_pass), recompute=recompute),
            overrides=[*sample_overrides(solver, sample), *overrides],
            device=place,
            precision=precision,
            seed=seed,
            out=out,
            score_every=score_every or 0,
            keep=keep or 0,
            interp=not no_interp,
            frugal=True,
        )
        if resume:
            run.restore(resume)
        folder = out or log_beside_snapshots(run)
        with events(run, tensorboard), report(run, folder, iterations), bar(console, run, iterations, run.ranks.writes):
            finished = run.solve(signals=True, iterations=iterations)
        if run.ranks.writes:
            summary(run, folder)
    return 0 if finished else 130


def log_beside_snapshots(run: Solver) -> Path:
    """Where no --out says otherwise, log.jsonl and all else go to the folder that snapshot_prefix names."""
    from netspec.solver.log import JsonLog

    folder = run.snapshots.folder
    if run.ranks.writes:
        run.snapshots.check_folder()
        run.on_record.append(JsonLog(folder).write)
    return folder


@contextmanager
def events(run: Solver, folder: Path | None) -> Iterator[None]:
    """The run's records as TensorBoard's events, where a folder is given."""
    if folder is None or not run.ranks.writes:
        yield
        return
    from netspec.solver.tensorboard import TensorBoard

    board = TensorBoard(folder, run.iter)
    run.on_record.append(board.write)
    try:
        yield
    finally:
        board.close()


@contextmanager
def report(run: Solver, out: Path, iterations: int | None) -> Iterator[None]:
    """report.html in the output folder, kept up to date while the run goes on."""
    if not run.ranks.writes:
        yield
        return
    from netspec.report.live import Report

    page = Report(run, out, iterations).watch()
    try:
        yield
    finally:
        page.finish()


def sample_overrides(solver: str, sample: bool) -> list[str]:
    """On the sample a test is one pass over its own held-out images, however many the solver's data set has."""
    if not sample:
        return []
    from netspec.data.sample import COUNTS
    from netspec.spec import text

    tests = len(text.read(solver, "SolverParameter").message.test_iter)
    return [f"test_iter={COUNTS['val']}"] if tests == 1 else []


def summary(run: Solver, out: Path) -> None:
    """The last scores, and where pictures and snapshots are."""
    from rich.console import Console

    from netspec.cli import _scores

    console = Console(soft_wrap=True)
    for number, record in run.tests.items():
        if "mean_iu" in record:
            console.print(f"iteration {record['iteration']}, test net {number}: {_scores.line(record)}")
            if len(run.tests) == 1:
                _scores.table(console, record)
    for path in pictures(run, out):
        console.print(f"pictures: {path}")
    console.print(f"log and snapshots: {out}")


def pictures(run: Solver, out: Path, images: int = 6) -> list[Path]:
    """A grid of image, truth and prediction for every test net that segments."""
    from netspec.segmentation.gallery import gallery, save
    from netspec.solver.scoring import find_pairs

    made = []
    for number, net in enumerate(run.test_nets):
        for pair in find_pairs(net)[:1] if number in run.tests else []:
            sheet = gallery(net, (pair.score, pair.label), images)
            if sheet is not None:
                path = out / f"predictions_{number}.png"
                save(sheet, path)
                made.append(path)
    return made
