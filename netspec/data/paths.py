"""Where a net's files lie: as written from the current folder, then from the net's folder, then from the data root.

Published nets say `../../data/x` or `data/x` for a folder x of the data, so under the data root `data/x` and `x` count
for it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netspec.errors import SpecError


@dataclass(frozen=True)
class Places:
    """The folders that relative paths may start from besides the current one."""

    folder: Path | None = None
    root: Path | None = None

    @classmethod
    def of(cls, folder: Path | None, root: Path | None) -> Places:
        """Without a root, NETSPEC_DATA of the environment is one."""
        named = os.environ.get("NETSPEC_DATA")
        return cls(folder, root or (Path(named) if named else None))

    def find(self, path: str, what: str, exists: Callable[[Path], bool] = Path.exists) -> Path:
        """The first place where `path` is; SpecError names all that were looked at. `what` is its name for people."""
        if not path:
            raise SpecError(f"{what} is missing or empty")
        looked = list(dict.fromkeys(self._candidates(path)))
        for place in looked:
            if exists(place):
                return place
        raise SpecError(f"{what} '{path}' is missing (looked for {', '.join(os.path.abspath(p) for p in looked)})")

    def file(self, path: str, what: str) -> Path:
        """As `find`, for what must be a file."""
        return self.find(path, what, Path.is_file)

    def _candidates(self, path: str) -> list[Path]:
        if "\0" in path:
            raise SpecError(f"file name {path!r} holds a zero byte")
        near = [Path(path), *([self.folder / path] if self.folder else [])]
        return near if self.root is None else [*near, *under(self.root, path)]


def under(root: Path, path: str | Path) -> list[Path]:
    """What a relative path of a net may mean below the data root; an absolute one means itself."""
    plain = Path(path)
    if plain.is_absolute():
        return [plain]
    parts = list(plain.parts)
    while parts and parts[0] in ("..", "."):
        parts.pop(0)
    return [root / plain, root.joinpath(*parts), root.joinpath(*parts[1 if parts[:1] == ["data"] else 0 :])]
