"""Reads damaged weight files of every kind until the time is up: nothing but SpecError, no crash, no large allocation.

    python tools/fuzz.py                        # three minutes
    python tools/fuzz.py --seconds 5 --seed 7

Files are cut, bits and bytes changed, numbers made large, parts repeated, left out and swapped. Each lot is read in a
process of its own, so that a crash of a library is seen too; what failed is named with the seed that makes it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from netspec import weights
from netspec.errors import SpecError
from netspec.weights import mean, solverstate
from netspec.weights.model import Model, StoredLayer

LOT = 200
ALLOWED = 192 << 20
"""Bytes that a lot may take beyond what reading the whole files takes."""


def whole_files(folder: Path) -> dict[str, bytes]:
    """A small file of every kind."""
    blobs: list[np.ndarray | None] = [np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.ones(3, np.float32)]
    model = Model("m", [StoredLayer("a", "Convolution", blobs, [None, None]), StoredLayer("s", "Split")])
    for end in (".caffemodel", ".caffemodel.h5", ".safetensors", ".npz", ".pt"):
        weights.write(folder / f"whole{end}", model)
    for end in (".solverstate", ".solverstate.h5"):
        solverstate.write(
            folder / f"whole{end}", solverstate.State(3, 1, "m.caffemodel", [np.ones((2, 3), np.float32)])
        )
    for end in (".binaryproto", ".npy"):
        mean.write(folder / f"whole{end}", np.ones((3, 4, 5), np.float32))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reader(name: str) -> Callable[[Path], object]:
    """What reads files of a kind."""
    if "solverstate" in name:
        return solverstate.read
    return mean.read if name.endswith((".binaryproto", ".npy")) else weights.read


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes after one to four changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at, kind = rng.randrange(len(out)), rng.randrange(6)
        end = min(len(out), at + rng.randint(1, 64))
        if kind == 0:
            del out[at:]
        elif kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 3:
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80"))
        elif kind == 4:
            del out[at:end]
        else:
            out[at:at] = out[rng.randrange(len(out)) :][: end - at]
    return bytes(out)


def read_lot(whole: dict[str, bytes], seed: int, folder: Path) -> None:
    """Reads a lot of damaged files; the process ends with 1 where one does what it must not."""
    before = 0
    for number in range(LOT):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(sorted(whole))
        path = folder / name
        path.write_bytes(damaged(whole[name], rng))
        try:
            reader(name)(path)
        except SpecError as e:
            assert "\n" not in str(e), f"seed {seed}, file {number} ({name}): {e}"
        except BaseException as e:
            raise SystemExit(f"seed {seed}, file {number} ({name}): {type(e).__name__}: {e}") from e
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if before and peak - before > ALLOWED:
            raise SystemExit(f"seed {seed}, file {number} ({name}): {(peak - before) >> 20} MiB more than before")
        before = max(before, peak)


def main() -> None:
    """Lots until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    import torch  # noqa: F401  # once, before processes are forked

    end, seed = time.monotonic() + arguments.seconds, arguments.seed
    with tempfile.TemporaryDirectory() as folder:
        whole = whole_files(Path(folder))
        while time.monotonic() < end:
            process = multiprocessing.get_context("fork").Process(target=read_lot, args=(whole, seed, Path(folder)))
            process.start()
            process.join(120)
            if process.exitcode != 0:
                process.kill()
                raise SystemExit(f"seed {seed}: the process ended with {process.exitcode}")
            seed += 1
    print(f"{(seed - arguments.seed) * LOT} damaged files read, none but with one line of error")


if __name__ == "__main__":
    main()
