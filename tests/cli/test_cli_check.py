"""netspec check: lines, status, fixes, explanations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netspec.cli import main

NET = """# kept
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "b" type: "BatchNorm" bottom: "data" top: "b" }
layer { name: "c" type: "Concat" bottom: "b" bottom: "b" top: "c" concat_param { concat_dim: 1 } }
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


def test_lines_and_status(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(net)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{net}:3:1: NS010 layer 'b' (BatchNorm) is followed by no Scale",
        f"{net}:4:82: NS017 layer 'c' (Concat): concat_dim is called axis today",
    ]


def test_clean_says_nothing(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(net), "--ignore", "NS010", "--ignore", "ns017"]) == 0
    assert capsys.readouterr().out == ""


def test_json(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(net), "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["code"], first["line"], first["fixable"]) == ("NS010", 3, False)
    assert (second["code"], second["col"], second["fixable"]) == ("NS017", 82, True)


def test_fix(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(net), "--fix"]) == 1
    assert net.read_text() == NET.replace("concat_dim", "axis")
    assert "NS017 fixed" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--explain", "NS012"]) == 0
    assert "no loss depends on it" in capsys.readouterr().out
    assert main(["check", "--explain", "all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 17


def test_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text('layer { name: "a" type: "TanH" bottom: "q" top: "a" }')
    assert main(["check", str(tmp_path / "x")]) == 1
    assert "x:1:32: NS000 layer 'a' (TanH): no layer above makes its bottom 'q'" in capsys.readouterr().out


def test_no_files() -> None:
    assert main(["check"]) == 2
