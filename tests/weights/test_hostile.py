"""Files that are cut short, damaged, or made to do harm: one line of SpecError, no code run, no memory taken."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from golden_data import golden

from netspec import weights
from netspec.errors import SpecError
from netspec.weights import mean, solverstate, wire
from netspec.weights.model import Model, StoredLayer

KINDS = ["x.caffemodel", "x.caffemodel.h5", "x.safetensors", "x.npz", "x.pt", "x.solverstate", "x.solverstate.h5"]

MESSAGES = ("x.caffemodel", "x.solverstate")


def model() -> Model:
    blobs = [np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.ones(3, np.float32)]
    return Model("m", [StoredLayer("a", "Convolution", blobs, [None, None]), StoredLayer("s", "Split")])


def make(path: Path) -> bytes:
    if "solverstate" in path.name:
        solverstate.write(path, solverstate.State(3, 1, "m.caffemodel", list(model().layers[0].blobs)))
    else:
        weights.write(path, model())
    return path.read_bytes()


def read(path: Path) -> None:
    """Reads every value; the only way to fail is a SpecError of one line that names the file."""
    try:
        if "solverstate" in path.name:
            solverstate.read(path)
        else:
            for blobs in weights.read(path).blobs().values():
                assert all(b is None or b.dtype == np.float32 for b in blobs)
    except SpecError as e:
        assert "\n" not in str(e)
        assert str(path) in str(e)
        raise


@contextmanager
def little_memory(limit: int = 64 << 20) -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit


@pytest.mark.parametrize("name", KINDS)
def test_cut_short(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    whole = make(path)
    for percent in range(100):
        cut = len(whole) * percent // 100
        path.write_bytes(whole[:cut])
        if name in MESSAGES and cut in {f.stop for f in wire.fields(whole, 0, len(whole))}:
            continue  # between two fields: a whole message, in which nobody can tell what is missing
        with pytest.raises(SpecError), little_memory():
            read(path)


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bits(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    whole = make(path)
    rng = random.Random(name)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with little_memory(), suppress(SpecError):
            read(path)


@pytest.mark.parametrize("name", ["v0.caffemodel", "v1.caffemodel", "adam_iter_3.solverstate"])
def test_flipped_bits_of_caffes_files(name: str, tmp_path: Path) -> None:
    whole = (golden("files/models") / name).read_bytes()
    path = tmp_path / name
    rng = random.Random(name)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with suppress(SpecError):
            read(path)


def test_fuzz() -> None:
    """tools/fuzz.py for some seconds; it runs for minutes outside of the tests."""
    tool = Path(__file__).parents[2] / "tools/fuzz.py"
    done = subprocess.run([sys.executable, str(tool), "--seconds", "3"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def field(number: int, body: bytes) -> bytes:
    return wire.tag(number, wire.LENGTH) + wire.encode_varint(len(body)) + body


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (wire.tag(5, 2) + wire.encode_varint(2 << 30), "goes on to byte"),
        (field(7, field(1, wire.encode_varint(2 << 30))), "shape 2147483648 but 0 values"),
        (field(7, field(1, wire.encode_varint(-1))) + field(5, bytes(4)), "shape -1 but 1 values"),
        (field(7, field(1, b"\x01" * 100)) + field(5, bytes(4)), "more than 32 axes"),
        (field(5, bytes(5)), "cut short"),
        (wire.integer(5, 3), "values of an unknown kind"),
        (b"\x2a\x00" * 3000, "more than 1024 pieces"),
        (b"\x07", "no field can begin with 7"),
        (b"\xff" * 12, "more than ten bytes"),
    ],
)
def test_lying_blobs(blob: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(field(100, field(1, b"a") + field(7, blob)))
    with pytest.raises(SpecError, match=message), little_memory():
        read(path)


def test_no_end_of_layers(tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(field(100, b"") * 50_002)
    with pytest.raises(SpecError, match="more than 50000 layers"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x89HDF\r\n\x1a\n and more", "it is an HDF5 file"),
        (b"PK\x03\x04 and more", "it is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\x0a\x03net", "it has no layers"),
        (b'name: "net"\nlayer { name: "a" }', "no field can begin|goes on to byte"),
    ],
)
def test_other_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        read(path)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_payload(zipped: bool, tmp_path: Path) -> None:
    import torch

    trap, path = tmp_path / "trap", tmp_path / "x.pt"
    torch.save({"a.weight": Payload(trap)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SpecError, match="code in a pickle is not run"):
        read(path)
    path.write_bytes(pickle.dumps(Payload(trap)))
    with pytest.raises(SpecError):
        read(path)
    assert not trap.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {1: 2}, "text"])
def test_pt_that_is_no_state_dict(content: object, tmp_path: Path) -> None:
    import torch

    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(SpecError, match="not a state_dict"):
        read(tmp_path / "x.pt")


def npy(header: str, body: bytes = b"") -> bytes:
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + body


def test_npz_bomb(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    size = 300 << 20
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as file,
    ):
        file.write(npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size // 4},)}}"))
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(SpecError, match="announces .* bytes, .* are stored: refused"), little_memory():
        read(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", "does not fit its"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "does not fit its"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "it holds object, not numbers"),
        ("__import__('os')", "its header is damaged"),
        ("{'descr': '<f4', 'shape': (", "its header is damaged"),
    ],
)
def test_npz_that_lies(header: str, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", npy(header, bytes(4)))
    with pytest.raises(SpecError, match=message), little_memory():
        read(tmp_path / "x.npz")
    (tmp_path / "m.npy").write_bytes(npy(header, bytes(4)))
    with pytest.raises(SpecError):
        mean.read(tmp_path / "m.npy")


def test_npz_of_objects_runs_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([Payload(tmp_path / "trap")], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(SpecError, match="it holds object"):
        read(tmp_path / "x.npz")
    assert not (tmp_path / "trap").exists()


def test_hdf5_that_points_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        layer = file.create_group("data/a")
        layer["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/data/a/0")
        file["data/b"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/data/a")
    assert weights.read(tmp_path / "x.h5").blobs() == {}
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/data")
    with pytest.raises(SpecError, match="'/data' is a link, which is not followed"):
        read(tmp_path / "y.h5")


def test_hdf5_values_in_other_files(tmp_path: Path) -> None:
    make(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data/a/0", (4,), "<f4", external=[(str(tmp_path / "other.h5"), 0, 16)])
    with pytest.raises(SpecError, match="the values of '/data/a/0' lie in another file"):
        read(tmp_path / "x.h5")
    layout = h5py.VirtualLayout((60,), "<f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "data/a/0", (60,))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_virtual_dataset("data/a/0", layout)
    with pytest.raises(SpecError, match="the values of '/data/a/0' lie in another file"):
        read(tmp_path / "y.h5")


def test_hdf5_that_lies(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data/a/0", (1 << 34,), "<f4", chunks=(1 << 20,))
    with pytest.raises(SpecError, match="announces 68719476736 bytes, 0 are stored: refused"), little_memory():
        read(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("data/a/0", data=np.array(["text"], "S4"))
        file.create_dataset("data/a/900000", data=np.ones(1))
    with pytest.raises(SpecError, match="has a blob beyond 1024"):
        read(tmp_path / "y.h5")
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file.create_group("data/a")
        file["data/a/loop"] = file["data"]
    with pytest.raises(SpecError, match="is inside itself"):
        read(tmp_path / "z.h5")
