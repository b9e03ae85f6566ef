"""netspec test: the mean of every output of a net over its data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netspec.cli import _options as opt
from netspec.cli import verb

if TYPE_CHECKING:
    from netspec.solver.testing import Output


@verb()
@click.argument("net", type=click.Path())
@opt.weights
@click.option("--iterations", type=click.IntRange(1), default=50, show_default=True, help="Batches to run.")
@click.option("--level", type=int, default=0, help="The net's level.")
@click.option("--stage", "stages", multiple=True, help="A stage of the net; repeatable.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the means as JSON.")
@opt.data
@opt.device
@opt.precision
@opt.backend
@opt.no_pass
def command(
    net: str,
    weights: tuple[str, ...],
    iterations: int,
    level: int,
    stages: tuple[str, ...],
    json_file: Path | None,
    data_root: Path | None,
    sample: bool,
    device: str,
    precision: str,
    backend: str,
    no_pass: tuple[str, ...],
) -> None:
    """Run a net in phase TEST and give the mean of every output blob, as `caffe test` does.

    Log lines are Caffe's; with --quiet the means alone go to standard output. Under torchrun the batches are shared.

    Example: netspec test train_val.prototxt --weights caffenet.caffemodel --iterations 100
    """
    from rich.console import Console

    from netspec.cli._progress import caffe_log
    from netspec.layers import Context
    from netspec.pipeline import load
    from netspec.solver import testing
    from netspec.solver.log import say
    from netspec.solver.parallel import Ranks, joined
    from netspec.solver.precision import Precision

    files = opt.read_weights(weights)
    opt.check_target(json_file)
    with joined(opt.read_device(device)) as place, caffe_log(Console(stderr=True)):
        opt.quieten_other_ranks()
        ranks = Ranks(place)
        context = Context(
            folder=Path(net).parent,
            data_root=data_root,
            sample=sample,
            no_pass=frozenset(no_pass),
            **ranks.context(),
        )
        model = load(net, files, level=level, stages=stages, context=context).to(place)
        kind = Precision(precision if backend == "torch" else "fp32", place)
        if backend == "torch":
            kind.prepare(model)
        else:
            model = opt.for_inference(model, backend, precision)
        say("caffe.cpp:281", f"Running for {iterations} iterations.")
        loss, outputs = testing.run(model, iterations, ranks, kind, each=tell_batch)
        if ranks.writes:
            tell(loss, outputs)
            if json_file:
                write(json_file, loss, outputs)


def tell_batch(number: int, outputs: list[Output]) -> None:
    from netspec.solver.log import say

    for name, values, _ in outputs:
        for value in values:
            say("caffe.cpp:304", f"Batch {number}, {name} = {value:g}")


def tell(loss: float, outputs: list[Output]) -> None:
    """The means as log lines, or on standard output where the log is off."""
    from netspec.solver.log import logger, say, value_lines

    lines = value_lines(outputs)
    if logger.isEnabledFor(logging.INFO):
        say("caffe.cpp:309", f"Loss: {loss:g}")
        for line in lines:
            say("caffe.cpp:321", line)
    else:
        click.echo("\n".join([f"Loss: {loss:g}", *lines]))


def write(path: Path, loss: float, outputs: list[Output]) -> None:
    """`{"loss": 0.5, "outputs": {"accuracy": 0.9, "loss": 0.5}}`; an output of several values is a list."""
    from netspec.solver.log import plain
    from netspec.spec.binary import replacing

    means: dict[str, Any] = {name: values[0] if len(values) == 1 else values for name, values, _ in outputs}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain({"loss": loss, "outputs": means}), indent=1), encoding="utf-8")
