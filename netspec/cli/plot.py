"""netspec plot: loss, learning rate and scores of training runs as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from netspec.cli import verb


@verb()
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The picture: .png, .svg or .pdf.")
def command(logs: tuple[Path, ...], out: Path) -> None:
    """Draw loss, scores and learning rate over iterations.

    LOGS are log.jsonl files, the folders they lie in, or logs of Caffe's of any age; several runs share one picture.

    Example: netspec plot out/demo caffe.INFO -o runs.png
    """
    from netspec.solver import figure
    from netspec.solver.logs import read

    figure.draw([read(path) for path in logs], out)
    click.echo(str(out))
