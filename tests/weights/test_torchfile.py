"""`.pt` without torch: what is written loads there, what torch saves of plain tensors is read; the rest torch reads."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netspec import weights
from netspec.errors import SpecError
from netspec.weights import torchfile
from netspec.weights.model import Model, StoredLayer


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


def saved(content: Any, path: Path) -> dict[str, np.ndarray]:
    """What is read of content that torch saved, `<layer>.weight` -> values."""
    torch.save(content, path)
    return {name: blobs[0] for name, blobs in weights.read(path).blobs().items() if blobs[0] is not None}


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.load is not to be called."""

    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("torch.load was called")

    monkeypatch.setattr(torch, "load", load)


@pytest.mark.parametrize("mmap", [True, False])
def test_torch_loads_what_is_written(mmap: bool, tmp_path: Path) -> None:
    blobs = [values(3, 4, 5), values(3), values(), values(0, 2), values(5, 4).T]
    weights.write(tmp_path / "x.pt", Model("m", [StoredLayer("ä\udcff", "", list(blobs))]))
    state = torch.load(tmp_path / "x.pt", weights_only=True, mmap=mmap)
    names = ["ä\udcff.weight", "ä\udcff.bias", "ä\udcff.blob2", "ä\udcff.blob3", "ä\udcff.blob4"]
    assert list(state) == names
    for blob, tensor in zip(blobs, state.values(), strict=True):
        assert tensor.dtype == torch.float32 and tensor.is_contiguous() and tensor.data_ptr() % 4 == 0
        np.testing.assert_array_equal(tensor.numpy(), blob)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive, open(tmp_path / "x.pt", "rb") as file:
        assert archive.testzip() is None
        data = file.read()
        places = [torchfile.begin(data, m) for m in archive.infolist() if "/data/" in m.filename]
    assert len(places) == 5 and not any(p % 64 for p in places)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for end in ("pt", "npz"):
        for name in ("a", "b"):
            weights.write(tmp_path / f"{name}.{end}", Model("m", [StoredLayer("c", "", [values(3, 2)])]))
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    "kind",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    + [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool],
    ids=str,
)
def test_number_types(kind: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.tensor([[0, 1, 3.25], [100, 0.1, 7]]).to(kind)
    got = saved({"a": tensor, "empty": tensor[:0], "number": tensor[1, 1]}, tmp_path / "x.pt")
    np.testing.assert_array_equal(got["a"], tensor.float().numpy())
    assert got["a"].dtype == np.float32 and got["empty"].shape == (0, 3) and got["number"].shape == ()
    assert got["number"] == tensor[1, 1].float().item()


@pytest.mark.usefixtures("no_torch")
def test_views_and_shared_storages(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {"t": whole.T, "part": whole[1:3, ::2], "wide": whole[0].expand(3, 6), "same": whole}
    tensors["nhwc"] = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    got = saved(tensors, tmp_path / "x.pt")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(got[name], tensor.numpy())


@pytest.mark.usefixtures("no_torch")
def test_checkpoint_of_modules(tmp_path: Path) -> None:
    net = torch.nn.Sequential(conv := torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    checkpoint = {"epoch": 3, "loss": 0.5, "args": [None, True, "x", 1 << 40], "state_dict": net.state_dict()}
    torch.save(checkpoint, tmp_path / "x.pt")
    model = weights.read(tmp_path / "x.pt")
    assert [layer.name for layer in model.layers] == ["0", "1"]
    np.testing.assert_array_equal(model.layers[0].blobs[0], conv.weight.detach().numpy())
    got = saved({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "p.pt")
    np.testing.assert_array_equal(got["w"], np.ones(2))


def test_what_is_not_plain_is_read_by_torch(tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.ones(2)}, "size": torch.Size([2]), "type": torch.float16}
    np.testing.assert_array_equal(saved(content, tmp_path / "x.pt")["a"], np.ones(2))


def test_files_without_checksums(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        got = saved({"a": torch.ones(2)}, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    np.testing.assert_array_equal(got["a"], np.ones(2))


def test_torch_is_not_imported(tmp_path: Path) -> None:
    weights.write(tmp_path / "x.pt", Model("m", [StoredLayer("c", "", [values(3, 2)])]))
    command = "import sys; from netspec.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for source, target in (("x.pt", "y.npz"), ("y.npz", "z.pt")):
        subprocess.run([sys.executable, "-c", command, "convert", source, target], cwd=tmp_path, check=True)
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "z.pt").read_bytes()


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    """Changes the pickle in a file."""
    with zipfile.ZipFile(path) as archive:
        members = {m.filename: archive.read(m) for m in archive.infolist()}
    assert old in members["archive/data.pkl"]
    members["archive/data.pkl"] = members["archive/data.pkl"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x06tQ", b"K\x07tQ"),  # a storage longer than its member
        (b"K\x06tQ", b"J\xff\xff\xff\x7ftQ"),
        (b"K\x06tQ", b"J\xff\xff\xff\xfftQ"),
        (b"(K\x03K\x02t", b"(K\x03K\x03t"),  # a shape beyond the storage
        (b"(K\x03K\x02t", b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft"),
        (b"(K\x03K\x02t", b"(J\xff\xff\xff\xffK\x02t"),
        (b"(K\x02K\x01t", b"(J\xff\xff\xff\xffK\x01t"),  # strides backwards
        (b"(K\x02K\x01t", b"(K\x02t"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v9"),
        (b"FloatStorage", b"FloatStorages"),
        (b"}(", b"\x96" + (1 << 40).to_bytes(8, "little") + b"}("),  # a byte array of 1 TiB
        (b"}(", b"r\xff\xff\xff\x7f}("),
        (b"}(", b"(X\x04\x00\x00\x00trueios\nsystem\n}("),
        (b"}(", b"cos\nsystem\n(X\x04\x00\x00\x00truetR}("),
    ],
)
def test_pickles_that_lie(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    weights.write(path, Model("m", [StoredLayer("a", "", [values(3, 2)])]))
    rewritten(path, old, new)
    with pytest.raises(SpecError) as caught:
        weights.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tensor_of_one_value_repeated_without_end(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(1).expand(1 << 20, 1 << 12)}, tmp_path / "x.pt")
    with pytest.raises(SpecError, match="announces 17179869184 bytes, 4 are stored: refused"):
        weights.read(tmp_path / "x.pt")
