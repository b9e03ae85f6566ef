"""HDF5 files as data: rows of several files in turn, and rows written by HDF5Output."""

from __future__ import annotations

import itertools
import logging
import os
import random
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.data.datum import text
from netspec.data.imagelist import read_lines
from netspec.data.order import Shuffled
from netspec.data.paths import Places
from netspec.errors import Loc, SpecError, suggestion

CHUNK_CACHE = 1 << 26  # bytes, so that a batch of shuffled rows unpacks each chunk once

log = logging.getLogger(__name__)
_numbers = itertools.count()


class ShuffledFiles(Shuffled):
    """Every pass takes the files in a new order, and the rows of each file in a new order. `rows`: rows per file."""

    def __init__(self, rows: Sequence[int], seed: int | None = None, *, rank: int = 0, world: int = 1) -> None:
        self.rows = list(rows)
        super().__init__(sum(rows), seed, rank=rank, world=world)

    def _at(self, k: int) -> int:
        number, place = divmod(k, self.n)
        if number != self._pass:
            self._pass, self._permutation = number, self._permute(random.Random(f"{self.seed} {number}"))
        return self._permutation[place]

    def _permute(self, draw: random.Random) -> list[int]:
        starts = [0, *itertools.accumulate(self.rows)]
        files = [list(range(start, end)) for start, end in itertools.pairwise(starts)]
        for rows in files:
            rows.sort(key=lambda _: draw.random())
        files.sort(key=lambda _: draw.random())
        return list(itertools.chain.from_iterable(files))


def read_files(path: Path, places: Places) -> list[Path]:
    """The HDF5 files that a list names, one a line."""
    names = [line.strip() for line in read_lines(path) if line.strip()]
    if not names:
        raise SpecError("the list is empty", Loc(str(path)))
    return [places.file(name, "HDF5 file") for name in names]


@dataclass
class Rows:
    """The rows of the sets `names` in several files, numbered through. `shapes`: one row of each set."""

    files: list[Path]
    names: list[str]
    counts: list[int]
    shapes: list[tuple[int, ...]]

    def load(self, job: Sequence[tuple[int, str]]) -> list[np.ndarray]:
        """The rows of a job, N x ... float32 for each set."""
        wanted = np.array([row for row, _ in job])
        tops = [np.empty((len(job), *shape), np.float32) for shape in self.shapes]
        starts = np.cumsum([0, *self.counts])
        of_file = np.searchsorted(starts, wanted, side="right") - 1
        for number in dict.fromkeys(of_file.tolist()):
            slots = np.flatnonzero(of_file == number)
            self._read(self.files[number], wanted[slots] - starts[number], slots, tops)
        return tops

    def _read(self, path: Path, rows: np.ndarray, slots: np.ndarray, tops: list[np.ndarray]) -> None:
        """Sorted and without repetition, as the format's own selection wants it."""
        distinct, places = np.unique(rows, return_inverse=True)
        run = distinct[-1] - distinct[0] + 1 == len(distinct)
        selection = slice(distinct[0], distinct[-1] + 1) if run else distinct
        with open_file(path) as file:
            for top, name in zip(tops, self.names, strict=True):
                try:
                    top[slots] = file[name][selection][places]
                except OSError as e:
                    raise SpecError(f"set '{name}' of {path} cannot be read: {e}") from None


def open_rows(files: Sequence[Path], names: Sequence[str]) -> Rows:
    """Sees that every file has the sets, of one number of rows, and that rows of all files are alike."""
    counts, shapes = [], []
    for path in files:
        count, rows = _look(path, names)
        counts.append(count)
        shapes.append(rows)
        if rows != shapes[0]:
            raise SpecError(f"{path} has rows of {_sizes(rows)}, but {files[0]} has {_sizes(shapes[0])}")
    if not sum(counts):
        raise SpecError(f"{files[0]} has no rows")
    return Rows(list(files), list(names), counts, shapes[0])


def _look(path: Path, names: Sequence[str]) -> tuple[int, list[tuple[int, ...]]]:
    """The number of rows of a file's sets, and the shape of one row of each."""
    with open_file(path) as file:
        sets = [_set(file, name, path) for name in names]
        for name, one in zip(names, sets, strict=True):
            if len(one) != len(sets[0]):
                raise SpecError(f"{path}: '{name}' has {len(one)} rows, but '{names[0]}' has {len(sets[0])}")
        return len(sets[0]), [one.shape[1:] for one in sets]


def _set(file: Any, name: str, path: Path) -> Any:
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise SpecError(f"{path} has no set '{name}'{suggestion(name, file)}; it has {', '.join(file) or 'none'}")
    if found.dtype.kind not in "fiu" or not found.shape:
        raise SpecError(
            f"set '{name}' of {path} is {found.dtype} of shape {list(found.shape or ())}; rows of numbers are wanted"
        )
    return found


def _sizes(rows: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(text(row) or "1" for row in rows)


def open_file(path: Path) -> Any:
    """An HDF5 file to read."""
    import h5py

    try:
        return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE)
    except OSError as e:
        raise SpecError(f"{path} cannot be read as HDF5: {e}") from None


class Writer:
    """Rows added to the sets of a new HDF5 file, which takes the place of `path` when the writer is closed or let go.

    Until then it is another file beside `path`, whole after every `append`.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{next(_numbers)}.tmp")
        self._finalizer = weakref.finalize(self, _finish, self.temporary, self.path)

    def append(self, sets: Mapping[str, np.ndarray]) -> None:
        """Adds rows to each set; all rows of a set are alike."""
        import h5py

        try:
            with h5py.File(self.temporary, "a") as file:
                for name, rows in sets.items():
                    _append(file, name, rows)
        except OSError as e:
            raise SpecError(f"cannot write {self.path}: {e}") from None

    def close(self) -> None:
        self._finalizer()


def _append(file: Any, name: str, rows: np.ndarray) -> None:
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]))
        return
    known = file[name]
    if known.shape[1:] != rows.shape[1:]:
        raise SpecError(f"rows of {text(rows.shape[1:])} do not fit '{name}', which has {text(known.shape[1:])}")
    start = len(known)
    known.resize(start + len(rows), axis=0)
    known[start:] = rows


def _finish(temporary: Path, path: Path) -> None:
    try:
        if temporary.exists():
            os.replace(temporary, path)
    except OSError as e:
        log.error("cannot write %s: %s", path, e.strerror)
