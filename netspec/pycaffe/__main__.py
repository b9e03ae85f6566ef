"""`python -m netspec.pycaffe SCRIPT ARGUMENTS...`: the same as `netspec python`."""

from __future__ import annotations

import sys

from netspec.errors import SpecError
from netspec.pycaffe.alias import check_script, run_script
from netspec.pycaffe.misc import init_log


def main() -> None:
    """Runs the script named on the command line."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m netspec.pycaffe SCRIPT ARGUMENTS...")
    try:
        check_script(sys.argv[1])
    except SpecError as e:
        sys.exit(str(e))
    init_log()
    run_script(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
