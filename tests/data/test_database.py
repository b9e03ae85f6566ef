"""LMDB databases: read in order and from threads, nothing written beside them, written whole or not at all."""

from __future__ import annotations

import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import lmdb
import pytest

from netspec.data import database
from netspec.data.database import open_database, write_database
from netspec.errors import SpecError

ENTRIES = [(f"{i:08d}_x".encode(), bytes([i]) * 10) for i in range(20)]


@pytest.fixture
def db(tmp_path):
    assert write_database(tmp_path / "db", ENTRIES) == 20
    return tmp_path / "db"


def test_round_trip_in_order_and_out_of_order(db):
    opened = open_database(db)
    keys = opened.keys()
    assert len(opened) == 20
    assert [keys(i) for i in range(20)] == [key for key, _ in ENTRIES]
    assert [keys(i) for i in (3, 0, 19, 19, 7)] == [ENTRIES[i][0] for i in (3, 0, 19, 19, 7)]
    assert opened.read([ENTRIES[4][0], ENTRIES[2][0]]) == [ENTRIES[4][1], ENTRIES[2][1]]


def test_read_from_threads(db):
    opened = open_database(db)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda e: opened.read([e[0]])[0] == e[1], ENTRIES * 20)) == [True] * 400


def test_one_handle_per_path_closed_with_its_last_reader(db, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(db)
    first, second = open_database(db), open_database(link)
    assert first is second
    keys = first.keys()
    del first, second
    gc.collect()
    assert keys(1) == ENTRIES[1][0]
    del keys
    gc.collect()
    lmdb.open(str(db), readonly=True, lock=False).close()


def test_opening_waits_for_a_handle_that_is_being_closed(db):
    def come_and_go(_):
        for _ in range(300):
            assert open_database(db).keys()(2)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(come_and_go, range(3)))
    finally:
        sys.setswitchinterval(interval)


def test_nothing_is_written_beside_it(db):
    before = {name: os.stat(db / name).st_mtime_ns for name in os.listdir(db)}
    opened = open_database(db)
    opened.read([opened.keys()(0)])
    assert (
        {name: os.stat(db / name).st_mtime_ns for name in os.listdir(db)} == before == {"data.mdb": before["data.mdb"]}
    )


def test_a_file_of_its_own(db, tmp_path):
    os.rename(db / "data.mdb", tmp_path / "one.mdb")
    assert len(open_database(tmp_path / "one.mdb")) == 20


def test_it_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "START_SIZE", 1 << 16)
    monkeypatch.setattr(database, "PER_COMMIT", 1 << 15)
    entries = [(b"%08d" % i, os.urandom(3000)) for i in range(200)]
    write_database(tmp_path / "db", entries)
    opened = open_database(tmp_path / "db")
    assert opened.read([key for key, _ in entries]) == [value for _, value in entries]


def test_a_failure_leaves_nothing(tmp_path):
    def entries():
        yield ENTRIES[0]
        raise SpecError("no more")

    with pytest.raises(SpecError, match="no more"):
        write_database(tmp_path / "db", entries())
    assert os.listdir(tmp_path) == []


def refused(path, message):
    with pytest.raises(SpecError) as caught:
        open_database(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_long_key(tmp_path):
    with pytest.raises(SpecError, match="has 600 bytes, LMDB takes at most 511"):
        write_database(tmp_path / "db", [(b"x" * 600, b"")])
    assert os.listdir(tmp_path) == []


def test_existing_database_is_kept(db):
    with pytest.raises(SpecError, match="exists already"):
        write_database(db, ENTRIES)
    assert len(open_database(db)) == 20


def test_missing_folder(tmp_path):
    with pytest.raises(SpecError, match="cannot write: No such file or directory"):
        write_database(tmp_path / "no" / "db", ENTRIES)


def test_leveldb(tmp_path):
    (tmp_path / "CURRENT").write_text("MANIFEST-000002\n")
    refused(tmp_path, "is a LevelDB, which is not read; make an LMDB of the images with 'netspec data lmdb")


def test_no_lmdb(tmp_path):
    refused(tmp_path, "is no LMDB: it has no data.mdb")
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    refused(tmp_path, "is no LMDB that can be read: ")
    (tmp_path / "data.mdb").write_bytes(b"")
    refused(tmp_path, "is no LMDB that can be read: ")


def test_cut_short(db):
    data = (db / "data.mdb").read_bytes()
    (db / "data.mdb").write_bytes(data[:-4096])
    refused(db, f"data.mdb is cut short: {len(data) - 4096} of {len(data)} bytes")


def test_empty(tmp_path):
    write_database(tmp_path / "db", [])
    refused(tmp_path / "db", "is empty")


def test_vanished_entry(db):
    with pytest.raises(SpecError, match="entry 'none' of .* is gone"):
        open_database(db).read([b"none"])
