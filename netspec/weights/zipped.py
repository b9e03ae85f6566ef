"""Zip archives of arrays: sizes, checked before memory is taken for them, and members that are not compressed."""

from __future__ import annotations

import mmap
import struct
import zipfile
from pathlib import Path

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.weights import mapped

FREE = 256 << 20
RATIO = 100
HEADER, SIZES, PADDING = 30, 20, 0x4246
"""Bytes in front of a member's name, bytes that sizes above 4 GiB take behind it, and the mark of bytes without use."""


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


def begin(data: mmap.mmap | bytes, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member lie: behind its header, its name and extra fields, whose lengths the header tells."""
    lengths = struct.unpack_from("<HH", data, member.header_offset + HEADER - 4)
    return member.header_offset + HEADER + sum(lengths)


def store(archive: zipfile.ZipFile, name: str, values: np.ndarray, head: bytes = b"", align: int = 1) -> None:
    """Adds `head` and float32 values, uncompressed, some megabytes at a time; they begin at a multiple of `align`."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(head) + 4 * values.size
    large = info.file_size >= zipfile.ZIP64_LIMIT
    at = archive.start_dir + HEADER + len(name.encode()) + (SIZES if large else 0)
    if rest := (at + 4) % align:
        info.extra = struct.pack("<HH", PADDING, align - rest) + bytes(align - rest)
    with archive.open(info, "w", force_zip64=large) as file:
        file.write(head)
        for piece in mapped.pieces(values):
            file.write(piece.data)
