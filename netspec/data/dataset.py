"""A segmentation data set: a list of ids and, for each top, where an id's file lies and how it is read.

Images are 1 x 3 x H x W (BGR, 0..255, minus the mean), labels 1 x 1 x H x W, all float32; 255 is void.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from netspec.data.classes import VOID
from netspec.data.paths import under
from netspec.errors import SpecError, suggestion

Mean = tuple[float, float, float]


class Dataset(Protocol):
    """What a source asks of a data set; `classes` gives the number of classes of each top that holds labels."""

    name: str
    ids: list[str]
    classes: dict[str, int]

    def __len__(self) -> int: ...

    def load(self, i: int) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Part:
    """One top: `path` gives the file of an id, `read` its array, 1 x C x H x W; `classes` is 0 for what is no label."""

    path: Callable[[str], Path]
    read: Callable[[Path], np.ndarray]
    classes: int = 0


class FileDataset:
    """The ids of a split list and the parts read for each; every file is seen to exist when it is made."""

    def __init__(self, name: str, split: Path, parts: Mapping[str, Part]) -> None:
        self.name, self.parts = name, dict(parts)
        self.ids = read_ids(split)
        self.classes = {top: part.classes for top, part in parts.items() if part.classes}
        self._find(split)

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, i: int) -> dict[str, np.ndarray]:
        """All tops of item i, of one size; SpecError names the file that is at fault."""
        arrays: dict[str, np.ndarray] = {}
        first = None
        for top, part in self.parts.items():
            path = part.path(self.ids[i])
            arrays[top] = part.read(path)
            if part.classes:
                check_label(arrays[top], part.classes, path)
            first = first or (path, arrays[top].shape)
            if arrays[top].shape[2:] != first[1][2:]:
                raise SpecError(f"{path} is {size(arrays[top].shape)}, but {first[0]} is {size(first[1])}")
        return arrays

    def _find(self, split: Path) -> None:
        wanted = [part.path(name) for name in self.ids for part in self.parts.values()]
        lost = [path for path in wanted if not os.path.isfile(path)]
        if lost:
            raise SpecError(f"{lost[0]} is missing: {len(lost)} of the {len(wanted)} files of {split} are not there")


def read_ids(split: Path) -> list[str]:
    """The ids of a split list, one a line; SpecError for a list that is missing or empty, an id listed twice."""
    try:
        lines = split.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise SpecError(f"split list {split} is not UTF-8 text") from None
    except OSError as e:
        known = [p.stem for p in split.parent.glob("*.txt")]
        raise SpecError(f"cannot read split list {split}: {e.strerror}{suggestion(split.stem, known)}") from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise SpecError(f"split list {split} is empty")
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise SpecError(f"split list {split} has id '{name}' twice")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            raise SpecError(f"split list {split} has id '{name}', which leads out of the data set's folder")
        seen.add(name)
    return ids


def check_label(label: np.ndarray, classes: int, where: object) -> None:
    """SpecError unless all values are in 0..classes-1 or void."""
    wrong = label[((label < 0) | (label >= classes)) & (label != VOID)]
    if wrong.size:
        allowed = f"0..{classes - 1} and {VOID} (void) are allowed"
        raise SpecError(f"{where} has label {wrong[0]:g} at {wrong.size} pixels, {allowed}")


def size(shape: Sequence[int]) -> str:
    """`width x height` of an array N x C x H x W."""
    return f"{shape[3]} x {shape[2]}"


def locate(path: str, name: str, fetch: str, *, root: Path | None, folder: Path | None) -> Path:
    """The folder that `path` of a net means; absolute as it is, relative from `root` if given, else from `folder`
    (the net's) and then from the current one.

    The published nets say `../data/x` or `../../data/x` for the same folder, so under `root` also `data/x` and `x`
    count. `name` is the data set's, `fetch` its name for `netspec data get`; both go into the error.
    """
    looked = list(dict.fromkeys(_candidates(path, root, folder)))
    for place in looked:
        if os.path.isdir(place):
            return place
    places = ", ".join(dict.fromkeys(os.path.abspath(place) for place in looked))
    raise SpecError(
        f"data set {name} is missing: no folder '{path}' (looked for {places}); fetch it with 'netspec data get "
        f"{fetch} DIR', say where it is with --data-root DIR, or try without it: --sample"
    )


def _candidates(path: str, root: Path | None, folder: Path | None) -> Iterable[Path]:
    plain = Path(path)
    if plain.is_absolute() or root is None:
        yield (folder or Path()) / plain
        yield plain
        return
    yield from under(root, plain)


def reading(path: Path, read: Callable[[], Any]) -> Any:
    """`read()`, any failure told as the file's fault: decoders of broken files raise all sorts of errors."""
    try:
        return read()
    except SpecError:
        raise
    except FileNotFoundError:
        raise SpecError(f"{path} is missing") from None
    except Exception as e:
        reason = " ".join(str(e).split()) or type(e).__name__
        raise SpecError(f"{path} cannot be read: {reason}") from e
