"""`python -m netspec` is `netspec`."""

from netspec.cli import run

run()
