"""Binary protocol buffer files <-> messages, and writing any file so that a stop leaves the old one or the new one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from netspec import schema
from netspec.errors import Loc, SpecError
from netspec.spec.text import Document, Place, decode, parse

# Bytes that no text file holds: control characters but white space and escape.
CONTROL = bytes(c for c in range(32) if c not in (9, 10, 11, 12, 13, 27))


def read(path: str | Path, message: str = "NetParameter") -> Document:
    """Parses a binary file; its places name the file only."""
    return _parse(_bytes(path), str(path), message)


def read_any(path: str | Path, message: str = "NetParameter") -> Document:
    """Parses a file of text or binary form, whichever it is."""
    data = _bytes(path)
    if is_binary(data):
        return _parse(data, str(path), message)
    return parse(decode(data, str(path)), str(path), message)


def is_binary(data: bytes) -> bool:
    """Whether the first bytes of a file cannot be prototxt: a message has lengths and tags below 32 among them."""
    head = data[:4096]
    return head != head.translate(None, CONTROL)


def write(path: str | Path, message: Message) -> None:
    """Writes a message in binary form; the same message always gives the same bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(message.SerializeToString(deterministic=True))


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", Loc(str(path))) from None


def _parse(data: bytes, file: str, name: str) -> Document:
    message = schema.message_class(name)()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise SpecError(f"not a binary {name} (cut short or damaged)", Loc(file)) from None
    return Document(message, Place(Loc(file)))


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes the place of `path` when the block ends well.

    A link is followed; a device or pipe is written to directly. What the system refuses is a SpecError; errors in the
    temporary file name `path`. `durable`: also a power failure leaves the old file or the new one, for which the disk
    is waited for; without it that is up to the file system.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        if target.is_dir():
            raise SpecError("cannot write: is a directory", Loc(str(path)))
        yield target
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        if durable:
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except SpecError as e:
        if e.loc is None or e.loc.file != str(temporary):
            raise
        raise SpecError(e.message, Loc(str(path))) from None
    except OSError as e:
        raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(path))) from None
    finally:
        temporary.unlink(missing_ok=True)
