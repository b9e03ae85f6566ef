"""Sizes that a compressed or self-describing file announces, checked before memory is taken for them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from netspec.errors import Loc, SpecError

FREE = 256 << 20
RATIO = 100


def check_size(name: str, announced: int, stored: int, loc: Loc) -> None:
    """Refuses what takes over 256 MiB and over a hundred times the bytes stored for it."""
    if announced > max(FREE, RATIO * stored):
        raise SpecError(f"'{name}' announces {announced} bytes, {stored} are stored: refused", loc)


def check_zip(path: str | Path) -> None:
    """Applies `check_size` to a zip archive's members and to their sum."""
    loc = Loc(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as e:
        raise SpecError(f"not a zip archive, or a damaged one: {e}", loc) from None
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror or e}", loc) from None
    size = Path(path).stat().st_size
    for member in members:
        check_size(member.filename, member.file_size, min(member.compress_size, size), loc)
    check_size("the archive", sum(m.file_size for m in members), size, loc)
