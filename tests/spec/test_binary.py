"""Binary messages, and files that are replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netspec import schema
from netspec.errors import SpecError
from netspec.spec import binary, text


def net() -> object:
    return schema.new("NetParameter", name="n", layer=[schema.new("LayerParameter", name="a", type="ReLU")])


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "net.binaryproto"
    binary.write(path, net())
    assert binary.read(path).message == net()
    assert binary.read_any(path).message == net()
    assert os.listdir(tmp_path) == ["net.binaryproto"]


def test_read_any_takes_text(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text.dump(net()))
    document = binary.read_any(path)
    assert document.message == net()
    assert document.place.fields["layer"][0].loc.line == 2


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.binaryproto"
    path.write_bytes(net().SerializeToString()[:-2])
    with pytest.raises(SpecError, match="not a binary NetParameter"):
        binary.read(path)
    with pytest.raises(SpecError, match="cannot read: No such file"):
        binary.read(tmp_path / "none")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(KeyError), binary.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_replacing_follows_links_and_spares_devices(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with binary.replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    with binary.replacing("/dev/null") as temporary:
        temporary.write_text("gone")
    assert not Path("/dev/null").is_file()


def test_what_the_system_refuses(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(SpecError, match="cannot write"), binary.replacing(path) as temporary:
            temporary.write_text("")
