"""netspec python: a script with `import caffe`."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import click

from netspec.cli import _options as opt
from netspec.errors import Loc, SpecError


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    }
)
@click.option("-q", "--quiet", is_flag=True, help="No log lines of nets and solvers.")
@click.option("-v", "--verbose", is_flag=True, help="All log lines; they are shown anyway.")
@opt.places
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    quiet: bool, verbose: bool, data_root: Path | None, sample: bool, script: str, arguments: tuple[str, ...]
) -> int:
    """Run a Python script with `import caffe` served by netspec.

    Everything below caffe is served too, whether or not a caffe is installed; log lines are Caffe's, on standard
    error. What the script raises is shown as Python shows it.

    Example: netspec python solve.py 0
    """
    if not Path(script).is_file():
        raise SpecError("no such script", Loc(script))
    from netspec.pycaffe import mode
    from netspec.pycaffe.alias import run_script
    from netspec.pycaffe.misc import init_log

    init_log(1 if quiet else 0)
    logging.getLogger("netspec").propagate = False
    mode.set_data(data_root, sample)
    try:
        run_script(script, arguments)
    except SpecError:
        traceback.print_exc()
        return 1
    return 0
