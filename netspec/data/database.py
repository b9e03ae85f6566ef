"""LMDB databases, read without leaving a trace beside them, and written whole or not at all.

One process may open an LMDB only once, so all readers of a path share one handle; it is closed with its last reader.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lmdb

from netspec.errors import Loc, SpecError

START_SIZE = 1 << 24  # bytes a new database may grow to at first
PER_COMMIT = 1 << 24  # bytes
LONGEST_KEY = 511  # bytes, LMDB's limit
PATIENCE = 1.0  # seconds that an opening waits for another reader's closing

_shared: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class Database:
    """An open database: `keys()` walks it, `read` may be called from any thread. Made by `open_database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._env = _open(path)
        self._count: int = self._env.stat()["entries"]
        if not self._count:
            raise SpecError(f"database {path} is empty")

    def __len__(self) -> int:
        return self._count

    def keys(self) -> Keys:
        return Keys(self, self._env)

    def read(self, keys: Sequence[bytes]) -> list[bytes]:
        """The values of keys."""
        with self._env.begin() as transaction:
            values = [transaction.get(key) for key in keys]
        for key, value in zip(keys, values, strict=True):
            if value is None:
                raise SpecError(f"{self.where(key)} is gone")
        return values

    def where(self, key: bytes) -> str:
        """An entry's name for errors."""
        return f"entry '{key.decode(errors='replace')}' of {self.path}"


class Keys:
    """`keys(i)` is the i-th key in the database's order: one step if i follows the last, else a walk from there."""

    def __init__(self, database: Database, env: Any) -> None:
        self._database = database  # keeps the handle open
        self._cursor = env.begin().cursor()
        self._cursor.first()
        self._at = 0

    def __call__(self, i: int) -> bytes:
        if i < self._at:
            self._cursor.first()
            self._at = 0
        while self._at < i:
            if not self._cursor.next():
                raise SpecError(f"database {self._database.path} has fewer entries than it says")
            self._at += 1
        return self._cursor.key()


def open_database(path: Path) -> Database:
    """The database in a folder (or in a file of its own); shared if it is open already."""
    place = os.path.realpath(path)
    with _lock:
        database = _shared.get(place)
        if database is None:
            database = _shared[place] = Database(Path(place))
        return database


def _open(path: Path) -> Any:
    if is_leveldb(path):
        raise SpecError(
            f"{path} is a LevelDB, which is not read; make an LMDB of the images with "
            "'netspec data lmdb LIST ROOT DB' and name it with 'backend: LMDB'"
        )
    file = path / "data.mdb" if path.is_dir() else path
    if not file.is_file():
        raise SpecError(f"{path} is no LMDB: it has no data.mdb")
    env = _environment(path, time.monotonic() + PATIENCE)
    wanted = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < wanted:  # reading past the end of a mapped file would end the process
        env.close()
        raise SpecError(f"{file} is cut short: {file.stat().st_size} of {wanted} bytes")
    return env


def _environment(path: Path, until: float) -> Any:
    """LMDB's own handle. That of a reader which has just gone may still be closing in its thread: it is waited for."""
    while True:
        try:
            return lmdb.open(str(path), readonly=True, lock=False, create=False, subdir=path.is_dir(), max_dbs=0)
        except lmdb.Error as e:
            if "already open" not in str(e):
                raise SpecError(f"{path} is no LMDB that can be read: {e}") from None
            if time.monotonic() > until:
                raise SpecError(f"{path} is open in this process, and cannot be twice; close() it first") from None
        time.sleep(0.01)


def is_leveldb(path: Path) -> bool:
    return (path / "CURRENT").is_file() and not (path / "data.mdb").exists()


def write_database(path: Path, entries: Iterable[tuple[bytes, bytes]]) -> int:
    """Makes a new LMDB of `entries` (key, value) and returns how many there were; nothing is left of a failed one."""
    if path.exists():
        raise SpecError("exists already; a new database takes no existing name", Loc(str(path)))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        count = _fill(temporary, entries)
        os.rename(temporary, path)
    except (OSError, lmdb.Error) as e:
        raise SpecError(f"cannot write: {getattr(e, 'strerror', None) or e}", Loc(str(path))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _fill(folder: Path, entries: Iterable[tuple[bytes, bytes]]) -> int:
    count, pending, size = 0, [], 0
    with lmdb.open(str(folder), map_size=START_SIZE, lock=False) as env:
        for key, value in entries:
            if len(key) > LONGEST_KEY:
                raise SpecError(f"key {key[:40]!r}... has {len(key)} bytes, LMDB takes at most {LONGEST_KEY}")
            pending.append((key, value))
            count, size = count + 1, size + len(value)
            if size >= PER_COMMIT:
                _commit(env, pending)
                pending, size = [], 0
        _commit(env, pending)
    return count


def _commit(env: Any, entries: list[tuple[bytes, bytes]]) -> None:
    """Writes entries in one transaction; a database that gets too small is doubled and they are written again."""
    while True:
        try:
            with env.begin(write=True) as transaction:
                for key, value in entries:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            env.set_mapsize(2 * env.info()["map_size"])
