"""Times netspec beside what its users would pick instead, as ratios within one run.

    python tools/bench.py                     # FCN-8s beside every peer: forward, training step, time and memory
    python tools/bench.py --only forward --size 256x256 --runs 9 --contenders netspec,eager
    python tools/bench.py load                # reading 540 MB of weights (bench_load.py)
    python tools/bench.py passes              # what each pass gains (bench_passes.py)
    python tools/bench.py growth              # from 128 x 128 to 2000 x 2000, batches of 1 to 8 (bench_growth.py)
    python tools/bench.py layers              # GoogLeNet and ResNet-50, whole and by layer type (bench_layers.py)
    python tools/bench.py solver              # the update of 134 million parameters, every rule (bench_solver.py)
    python tools/bench.py convert             # weight files of VGG16's size, beside cp (bench_convert.py)
    python tools/bench.py pycaffe             # Caffe's Python interface beside the net that it wraps (bench_pycaffe.py)
    python tools/bench.py gpu                 # FCN-8s and FCN-32s on a GPU (bench_gpu.py)
    python tools/bench.py --quick             # beside eager PyTorch alone; any part: small, minutes become seconds

Several parts may be named at once. Peers that are not installed are left out: pip install 'netspec[bench]'.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_contenders
import bench_fcn8s
import bench_nets

ROOT = Path(__file__).resolve().parent.parent
QUICK_SIZE = "256x256"
Rows = list[dict[str, Any]]


def nets(given: argparse.Namespace, folder: str) -> Rows:
    tasks = [given.only] if given.only else bench_nets.TASKS
    sizes = given.size.split(",") if given.size else (QUICK_SIZE,) if given.quick else bench_nets.SIZES
    names = given.contenders or ("netspec,eager" if given.quick else ",".join(bench_contenders.NAMES))
    return bench_nets.main(folder, sizes, given.runs or 5, given.threads, tasks, names.split(","))


def load(given: argparse.Namespace, folder: str) -> Rows:
    import bench_load

    return bench_load.main(folder, given.runs or (2 if given.quick else 5), given.threads)


def passes(given: argparse.Namespace, folder: str) -> Rows:
    import bench_passes

    size = given.size or (QUICK_SIZE if given.quick else "500x500")
    return bench_passes.main(folder, size, given.runs or (3 if given.quick else 5), given.threads, given.only)


def growth(given: argparse.Namespace, folder: str) -> Rows:
    import bench_growth

    return bench_growth.main(folder, given.runs or (2 if given.quick else 5), given.threads, given.quick, given.plot)


def layers(given: argparse.Namespace, folder: str) -> Rows:
    import bench_layers

    bench_layers.main(given.runs or (2 if given.quick else 5), given.quick)
    return []


def solver(given: argparse.Namespace, folder: str) -> Rows:
    import bench_solver

    bench_solver.main(given.runs or (2 if given.quick else 5), given.quick, given.device, given.only)
    return []


def convert(given: argparse.Namespace, folder: str) -> Rows:
    import bench_convert

    bench_convert.main(given.runs or (2 if given.quick else 5), given.quick)
    return []


def pycaffe(given: argparse.Namespace, folder: str) -> Rows:
    import bench_pycaffe

    size = given.size or (QUICK_SIZE if given.quick else "500x500")
    return bench_pycaffe.main(folder, size, given.runs or (5 if given.quick else 15), given.threads)


def gpu(given: argparse.Namespace, folder: str) -> Rows:
    import bench_gpu

    height, width = (given.size or "500x500").split("x")
    bench_gpu.main(given.runs or 5, given.quick, (int(height), int(width)))
    return []


PARTS: dict[str, Callable[[argparse.Namespace, str], Rows]] = {
    "nets": nets,
    "load": load,
    "passes": passes,
    "growth": growth,
    "layers": layers,
    "solver": solver,
    "convert": convert,
    "pycaffe": pycaffe,
    "gpu": gpu,
}
ON_FILES = ("nets", "load", "passes", "growth", "pycaffe")
"""Parts that read the weights from files."""


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (nets)")
    parser.add_argument("--quick", action="store_true", help="small and short, beside eager PyTorch alone")
    parser.add_argument("--size", help="height x width of the image; for nets several: 500x500,256x256")
    parser.add_argument("--runs", type=int, help="rounds, each contender once in each (5)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for everyone (all cores)")
    parser.add_argument("--contenders", help=f"for nets, of {','.join(bench_contenders.NAMES)}")
    parser.add_argument(
        "--only", help=f"for nets, one of {', '.join(bench_nets.TASKS)}; one pass; for solver, one rule"
    )
    parser.add_argument("--device", default="cpu", help="for solver")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs/img/growth.png", help="for growth (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write all rows to this file")
    given = parser.parse_args()
    given.parts = given.parts or ["nets"]
    check(parser, "part", given.parts, PARTS)
    check(parser, "contender", (given.contenders or "netspec").split(","), bench_contenders.NAMES)
    if given.only and given.parts == ["nets"]:
        check(parser, "task", [given.only], bench_nets.TASKS)
    if given.size and not all(re.fullmatch(r"[1-9]\d*x[1-9]\d*", size) for size in given.size.split(",")):
        parser.error(f"size '{given.size}' is not like 500x500")
    return given


def check(parser: argparse.ArgumentParser, what: str, names: list[str], known: Any) -> None:
    for name in names:
        if name not in known:
            parser.error(f"unknown {what} '{name}' (known: {', '.join(known)})")


def main() -> None:
    given = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the folder of files goes then too
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="netspec-bench-") as folder:
        if any(part in ON_FILES for part in given.parts):
            bench_fcn8s.make(folder, "weights")
        for part in given.parts:
            rows += PARTS[part](given, folder)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
