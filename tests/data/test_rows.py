"""HDF5 files as rows, rows into HDF5 files, arrays of the caller's."""

from __future__ import annotations

import gc
import os

import h5py
import numpy as np
import pytest

from netspec.data.hdf5 import ShuffledFiles, Writer, open_rows, read_files
from netspec.data.memory import Memory
from netspec.data.paths import Places
from netspec.errors import SpecError


def save(path, **sets):
    with h5py.File(path, "w") as file:
        for name, values in sets.items():
            file[name] = values
    return path


def job(rows):
    return [(row, "") for row in rows]


@pytest.fixture
def files(tmp_path):
    return [
        save(tmp_path / "a.h5", data=np.arange(12.0).reshape(3, 4), label=np.arange(3)),
        save(tmp_path / "b.h5", data=np.arange(12.0, 20.0).reshape(2, 4), label=np.arange(3, 5)),
    ]


@pytest.mark.parametrize("wanted", [[0, 1, 2], [2, 3, 4, 0], [4, 4, 1, 0, 3, 4]])
def test_rows_of_several_files(files, wanted):
    data, label = open_rows(files, ["data", "label"]).load(job(wanted))
    assert data.dtype == label.dtype == np.float32
    np.testing.assert_array_equal(label, wanted)
    np.testing.assert_array_equal(data, np.arange(20.0).reshape(5, 4)[wanted])


def test_shuffled_within_files_and_among_them():
    order = ShuffledFiles([3, 2, 4], 5)
    passes = [[order.next() for _ in range(9)] for _ in range(6)]
    for rows in passes:
        assert sorted(rows) == list(range(9))
        of_file = np.searchsorted([3, 5], rows, side="right")
        assert (np.diff(of_file) != 0).sum() == 2
    assert len({tuple(rows) for rows in passes}) > 3


def test_file_list(files, tmp_path):
    (tmp_path / "list.txt").write_text(f"{files[0]}\n\nb.h5\n")
    assert read_files(tmp_path / "list.txt", Places(tmp_path)) == files
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(SpecError, match="the list is empty"):
        read_files(tmp_path / "list.txt", Places())


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"data": np.zeros((2, 5)), "label": [0, 0]}, "b.h5 has rows of 5, 1, but .*a.h5 has 4, 1"),
        ({"data": np.zeros((2, 4)), "label": [0]}, "'label' has 1 rows, but 'data' has 2"),
        (
            {"data": np.zeros((2, 4)), "labels": [0, 0]},
            "has no set 'label', did you mean 'labels'.; it has data, labels",
        ),
        ({"data": np.zeros((2, 4)), "label": ["a", "b"]}, "set 'label' of .*b.h5 is object"),
        ({"data": np.zeros((2, 4)), "label": 1.0}, r"set 'label' of .*b.h5 is float64 of shape \[\]"),
    ],
)
def test_bad_sets(sets, message, files):
    save(files[1], **sets)
    with pytest.raises(SpecError, match=message):
        open_rows(files, ["data", "label"])


def test_no_hdf5(files):
    files[1].write_bytes(b"no such file")
    with pytest.raises(SpecError, match="b.h5 cannot be read as HDF5"):
        open_rows(files, ["data"])


def test_no_rows(tmp_path):
    with pytest.raises(SpecError, match="has no rows"):
        open_rows([save(tmp_path / "a.h5", data=np.zeros((0, 4)))], ["data"])


def test_written_rows_appear_when_the_writer_goes(tmp_path):
    path = save(tmp_path / "out.h5", old=[1])
    writer = Writer(path)
    for n in range(3):
        writer.append({"data": np.full((2, 3), n, np.float32)})
    with h5py.File(path) as file:
        assert list(file) == ["old"]
    del writer
    gc.collect()
    with h5py.File(path) as file:
        assert list(file) == ["data"]
        np.testing.assert_array_equal(file["data"][:, 0], [0, 0, 1, 1, 2, 2])
    assert os.listdir(tmp_path) == ["out.h5"]


def test_rows_that_cannot_be_written(tmp_path):
    with pytest.raises(SpecError, match="cannot write .*no/out.h5"):
        Writer(tmp_path / "no" / "out.h5").append({"data": np.zeros((1, 1))})
    writer = Writer(tmp_path / "out.h5")
    writer.append({"data": np.zeros((1, 2))})
    with pytest.raises(SpecError, match="rows of 3 do not fit 'data', which has 2"):
        writer.append({"data": np.zeros((1, 3))})


def test_memory_goes_round():
    memory = Memory((2, 1, 1, 1))
    assert memory.peek_shapes() == [(2, 1, 1, 1), (2, 1, 1, 1)]
    memory.set(np.arange(4).reshape(4, 1, 1, 1), [5, 6, 7, 8])
    assert [memory.next()[1].ravel().tolist() for _ in range(3)] == [[5, 6], [7, 8], [5, 6]]


def test_memory_is_the_callers_and_stays_it():
    data = np.zeros((2, 1, 1, 1), np.float32)
    memory = Memory((2, 1, 1, 1))
    memory.set(data, [0, 1])
    data[:] = 3
    batch = memory.next()[0]
    batch[:] = 9
    assert (memory.next()[0] == 3).all()


def test_memory_resumes_before_the_arrays_come():
    memory = Memory((2, 1, 1, 1))
    memory.restore({"row": 2})
    memory.set(np.zeros((4, 1, 1, 1)), [5, 6, 7, 8])
    assert memory.state() == {"row": 2}
    assert memory.next()[1].ravel().tolist() == [7, 8]
    memory.set(np.zeros((4, 1, 1, 1)), [5, 6, 7, 8])
    assert memory.state() == {"row": 0}


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        ((4, 2, 1, 1), 4, "the data are 4 x 2 x 1 x 1, N x 1 x 1 x 1 is wanted"),
        ((4,), 4, "the data are 4, N x 1 x 1 x 1 is wanted"),
        ((3, 1, 1, 1), 3, "3 rows are no multiple of batch_size 2"),
        ((0, 1, 1, 1), 0, "0 rows are no multiple of batch_size 2"),
        ((4, 1, 1, 1), 3, "3 labels for 4 rows"),
    ],
)
def test_bad_arrays(data, labels, message):
    with pytest.raises(SpecError) as caught:
        Memory((2, 1, 1, 1)).set(np.zeros(data), np.zeros(labels))
    assert caught.value.message == message


@pytest.mark.parametrize("row", [None, -2, 1, "2", 4])
def test_bad_rows(row):
    memory = Memory((2, 1, 1, 1))
    memory.set(np.zeros((4, 1, 1, 1)), np.zeros(4))
    with pytest.raises(SpecError, match="the saved row"):
        memory.restore({"row": row})
