"""netspec data: the databases and means that Caffe's tools write."""

from __future__ import annotations

import json
import os

import lmdb
import numpy as np
import pytest
from golden_data import golden

from netspec import schema
from netspec.cli import main
from netspec.data.database import open_database
from netspec.data.images import decode
from netspec.spec import binary

OPTIONS = {
    "lmdb_raw": [],
    "lmdb_encoded": ["--encoded"],
    "lmdb_gray": ["--gray"],
    "lmdb_resize": ["--resize-height", "8", "--resize-width", "10"],
    "lmdb_encoded_resize": ["--encode-type", "png", "--resize-height", "6", "--resize-width", "7"],
}


@pytest.fixture
def data():
    return golden("files") / "data"


def entries(path):
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(key, bytes(value)) for key, value in transaction.cursor()]


def datums(path):
    out = []
    for key, value in entries(path):
        datum = schema.message_class("Datum")()
        datum.ParseFromString(value)
        out.append((key, datum))
    return out


def make(data, db, *options, list="list.txt", root="images/"):
    return main(["data", "lmdb", str(data / list), str(data / root), str(db), *options])


@pytest.mark.parametrize("name", OPTIONS)
def test_lmdb_is_convert_imagesets(name, data, tmp_path):
    spec = json.loads((data / "data.json").read_text())[name]
    assert make(data, tmp_path / "db", *OPTIONS[name], list=spec["list"]) == 0
    assert os.listdir(tmp_path) == ["db"]
    if name == "lmdb_encoded_resize":  # another PNG encoder: the pixels are the same, the bytes are not
        for (key, mine), (theirs_key, theirs) in zip(datums(tmp_path / "db"), datums(data / name), strict=True):
            np.testing.assert_array_equal(decode(mine.data, None, "mine"), decode(theirs.data, None, "theirs"))
            mine.data = theirs.data
            assert (key, mine) == (theirs_key, theirs)
    else:
        assert entries(tmp_path / "db") == entries(data / name)


def test_mean_is_compute_image_means(data, tmp_path, capsys):
    assert main(["data", "mean", str(data / "lmdb_resize"), str(tmp_path / "mean")]) == 0
    assert (tmp_path / "mean").read_bytes() == (data / "mean.binaryproto").read_bytes()
    assert capsys.readouterr().out.splitlines()[0].startswith("mean_value channel [0]: 135.")
    assert os.listdir(tmp_path) == ["mean"]


def test_root_with_and_without_slash(data, tmp_path):
    assert make(data, tmp_path / "a") == make(data, tmp_path / "b", root="images") == 0
    assert entries(tmp_path / "a") == entries(tmp_path / "b")


def test_shuffle_by_seed(data, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert make(data, tmp_path / name, "--shuffle", "--seed", seed) == 0
    a, b, c = ([key[9:] for key, _ in entries(tmp_path / name)] for name in "abc")
    assert a == b != c and sorted(a) == sorted(c)
    assert [key[:9] for key, _ in entries(tmp_path / "c")] == [b"%08d_" % n for n in range(4)]


def test_jpeg(data, tmp_path):
    assert make(data, tmp_path / "db", "--encode-type", "JPG", "--resize-height", "32", "--resize-width", "32") == 0
    for _, datum in datums(tmp_path / "db"):
        assert datum.data.startswith(b"\xff\xd8") and decode(datum.data, None, "x").shape == (32, 32, 3)


def test_made_databases_can_be_read(data, tmp_path):
    assert make(data, tmp_path / "db") == 0
    assert len(open_database(tmp_path / "db")) == 4


def test_sample(tmp_path, monkeypatch):
    monkeypatch.setattr("netspec.data.sample.COUNTS", {"train": 3, "val": 2})
    assert main(["data", "sample", str(tmp_path / "s"), "--seed", "1"]) == 0
    assert len(list((tmp_path / "s" / "JPEGImages").iterdir())) == 5
    (tmp_path / "file").touch()
    assert main(["data", "sample", str(tmp_path / "file")]) == 1


def test_help_has_examples(capsys):
    for words in ([], ["lmdb"], ["mean"], ["sample"]):
        assert main(["data", *words, "--help"]) == 0
        assert "Example: netspec data" in capsys.readouterr().out


def refused(capsys, args, message, status=1):
    assert main(["data", *map(str, args)]) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert status == 2 or err.count("\n") == 1


def test_lmdb_refuses(data, tmp_path, capsys):
    images, db = data / "images", tmp_path / "db"
    bad = tmp_path / "bad"
    refused(capsys, ["lmdb", tmp_path / "no", images, db], "no: error: cannot read: No such file")
    for text, message in (
        ("", "bad: error: the list is empty"),
        ("a.png x\n", "bad:1: error: label 'x' is no integer of 32 bits"),
        ("a.png 1\nz.png 1\n", "z.png is missing"),
        (f"../{data.name}/data.json 1\n", ""),
    ):
        bad.write_text(text)
        refused(capsys, ["lmdb", bad, images, db], message)
    both = ["lmdb", data / "list.txt", images, db]
    refused(capsys, [*both, "--check-size"], "c.png has 495 values, the first image has 576")
    refused(capsys, [*both, "--encode-type", "jpgg"], "unknown encode type 'jpgg', did you mean 'jpg'?")
    refused(capsys, [*both, "--resize-height", "4"], "--resize-height and --resize-width go together", status=2)
    assert os.listdir(tmp_path) == ["bad"]
    assert make(data, db) == 0
    capsys.readouterr()
    refused(capsys, both, "db: error: exists already")


def test_mean_refuses(data, tmp_path, capsys):
    refused(capsys, ["mean", tmp_path / "no", tmp_path / "m"], "is no LMDB: it has no data.mdb")
    refused(capsys, ["mean", data / "lmdb_raw", tmp_path / "m"], "a mean needs records of one size")
    refused(capsys, ["mean", data / "lmdb_resize", tmp_path / "no" / "m"], "cannot write: No such file")
    assert not (tmp_path / "m").exists()


def test_mean_file_reads_back(data, tmp_path):
    assert main(["data", "mean", str(data / "lmdb_gray"), str(tmp_path / "m")]) == 0
    blob = binary.read(tmp_path / "m", "BlobProto").message
    assert [blob.num, blob.channels, blob.height, blob.width] == [1, 1, 12, 16]
