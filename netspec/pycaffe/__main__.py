"""`python -m netspec.pycaffe SCRIPT ARGUMENTS...`: the same as `netspec python`."""

from __future__ import annotations

import sys
from pathlib import Path

from netspec.errors import Loc, SpecError
from netspec.pycaffe.alias import run_script
from netspec.pycaffe.misc import init_log


def main() -> None:
    """Runs the script named on the command line."""
    if len(sys.argv) < 2:
        print("usage: python -m netspec.pycaffe SCRIPT ARGUMENTS...", file=sys.stderr)
        sys.exit(2)
    if not Path(sys.argv[1]).is_file():
        sys.exit(str(SpecError("no such script", Loc(sys.argv[1]))))
    init_log()
    run_script(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
