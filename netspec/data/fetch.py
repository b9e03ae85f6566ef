"""Known weights and data sets, downloaded: resumed where they broke off, checked by hash, from mirrors first.

What is known stands in sources.toml, which says how a user adds to it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from netspec.errors import Loc, SpecError, suggestion

# Python 3.10 has no reader of TOML of its own.
tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

log = logging.getLogger(__name__)

TABLE = Path(__file__).with_name("sources.toml")
ALGORITHMS = ("sha256", "sha1", "md5")
CHUNK = 1 << 18
TIMEOUT = (15, 60)
"""Seconds to connect, and between two chunks."""
ATTEMPTS = 5
"""How often one address may break off without having sent anything new."""

Progress = Callable[[int, int], None]
"""Told of the bytes there are, and of those there will be (0 if the server does not say)."""


@dataclass(frozen=True)
class File:
    """One file: its name, where it may be, and its hash (algorithm, hexadecimal digest) if known."""

    name: str
    urls: tuple[str, ...]
    hash: tuple[str, str] | None = None


@dataclass(frozen=True)
class Source:
    """What one name stands for."""

    name: str
    about: str
    files: tuple[File, ...]


class Broken(Exception):
    """Why an address gave no file; `again` if it may do so when asked once more."""

    def __init__(self, reason: str, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def sources(extra: Iterable[str | Path] = ()) -> dict[str, Source]:
    """Everything known by name; later tables add to earlier ones and replace what they name."""
    out: dict[str, Source] = {}
    for path in (TABLE, *extra):
        out.update(read_table(Path(path)))
    return out


def find(name: str, known: dict[str, Source]) -> Source:
    """A source by its name."""
    if name not in known:
        raise SpecError(
            f"nothing is known by the name '{name}'{suggestion(name, known)}; without a name, all are listed"
        )
    return known[name]


def read_table(path: Path) -> dict[str, Source]:
    """One table. Errors: no such file, not TOML, a name without files, a file without urls or with a bad name."""
    loc = Loc(str(path))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", loc) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SpecError(f"not a table of sources: {e}", loc) from None
    return {name: read_source(name, entry, loc) for name, entry in table.items()}


def read_source(name: str, entry: Any, loc: Loc) -> Source:
    files = entry.get("files") if isinstance(entry, dict) else None
    if not isinstance(files, list) or not files or not all(isinstance(f, dict) for f in files):
        raise SpecError(f"'{name}' has no [[{name}.files]]", loc)
    return Source(name, str(entry.get("about", "")), tuple(read_file(name, file, loc) for file in files))


def read_file(name: str, entry: dict[str, Any], loc: Loc) -> File:
    file, urls = entry.get("file"), entry.get("urls")
    if not isinstance(file, str) or file in ("", ".", "..") or Path(file).name != file or "\\" in file:
        raise SpecError(f"'{name}': file {file!r} is not the plain name of a file", loc)
    if not isinstance(urls, list) or not urls or not all(isinstance(u, str) for u in urls):
        raise SpecError(f"'{name}': {file} has no list of urls", loc)
    if strange := [u for u in urls if not u.startswith(("http://", "https://"))]:
        raise SpecError(f"'{name}': '{strange[0]}' is not a http or https address", loc)
    found = next(((a, str(entry[a]).lower()) for a in ALGORITHMS if a in entry), None)
    return File(file, tuple(urls), found)


def fetch(file: File, folder: str | Path, mirrors: Sequence[str] = (), progress: Progress | None = None) -> Path:
    """The file in the folder; one that is there and has the right hash is left alone.

    What is still coming has the suffix .part and is resumed. Errors: all addresses failed, each with its reason.
    """
    target = Path(folder) / file.name
    if target.is_file() and (file.hash is None or digest(target, file.hash[0]) == file.hash[1]):
        return target
    part = target.with_name(target.name + ".part")
    failed = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in (*(f"{m.rstrip('/')}/{file.name}" for m in mirrors), *file.urls):
            try:
                download(url, part, progress or (lambda done, total: None))
                check(part, file)
                os.replace(part, target)
                return target
            except Broken as e:
                log.debug("%s: %s", url, e)
                failed.append(f"{url}: {e}")
    except OSError as e:
        raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(e.filename or target))) from None
    raise SpecError(f"{file.name} cannot be had ({'; '.join(failed)}): give a mirror, --mirror URL or NETSPEC_MIRROR")


def check(part: Path, file: File) -> None:
    """Throws away what has another hash than it should."""
    if file.hash is None:
        return
    algorithm, wanted = file.hash
    found = digest(part, algorithm)
    if found != wanted:
        part.unlink()
        raise Broken(f"wrong content: {algorithm} is {found}, not {wanted}")


def digest(path: Path, algorithm: str) -> str:
    """A file's hash."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def download(url: str, part: Path, progress: Progress) -> None:
    """The whole of an address, as often as it takes; gives up after some attempts without anything new."""
    idle = 0
    while True:
        before = size(part)
        try:
            return once(url, part, progress)
        except Broken as e:
            idle = 0 if size(part) > before else idle + 1
            if not e.again or idle >= ATTEMPTS:
                raise


def once(url: str, part: Path, progress: Progress) -> None:
    """One request, from where the part ends; a server that cannot resume starts anew."""
    import requests

    start = size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
            if reply.status_code == 416:
                part.unlink(missing_ok=True)
                raise Broken("the server has no more than is here already", again=True)
            if reply.status_code not in (200, 206):
                raise Broken(f"{reply.status_code} {reply.reason}", again=reply.status_code >= 500)
            start = start if resumes(reply, start) else 0
            write(reply, part, start, progress)
    except requests.RequestException as e:
        raise Broken(plain(e), again=True) from None


def resumes(reply: Any, start: int) -> bool:
    """Whether the reply goes on where the part ends."""
    return reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def write(reply: Any, part: Path, start: int, progress: Progress) -> None:
    """Adds the reply's bytes to the part; fewer than announced are a break."""
    announced = reply.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdecimal() else 0
    done = start
    with open(part, "r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        for chunk in reply.iter_content(CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    if total and done < total:
        raise Broken(f"broke off after {done} of {total} bytes", again=True)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def plain(error: Exception) -> str:
    """A line for people from the nested errors of the library."""
    text = str(error)
    for word, meaning in (
        ("resolve", "unknown host"),
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("ertificate", "the server's certificate is not trusted"),
        ("IncompleteRead", "the connection broke off"),
        ("reset", "the connection broke off"),
    ):
        if word in text:
            return meaning
    return text.split("\n")[0][:120] or type(error).__name__
