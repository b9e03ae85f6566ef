"""netspec upgrade: text and binary, nets and solvers, nothing lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.cli import main
from netspec.spec import binary, text

V1 = 'layers { name: "d" type: DUMMY_DATA top: "d" }\nlayers { name: "r" type: RELU bottom: "d" top: "d" }\n'
SOLVER = 'net: "x.prototxt"\nbase_lr: 0.1\nsolver_type: ADAM\n'


def test_text_net(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(V1)
    assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    assert [layer.type for layer in text.read(tmp_path / "new").message.layer] == ["DummyData", "ReLU"]


def test_solver(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(SOLVER)
    assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    assert text.read(tmp_path / "new", "SolverParameter").message.type == "Adam"


@pytest.mark.parametrize("to", [[], ["--binary"], ["--text"]])
def test_binary_net(to: list[str], tmp_path: Path) -> None:
    binary.write(tmp_path / "old", text.parse(V1).message)
    assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new"), *to]) == 0
    assert binary.is_binary((tmp_path / "new").read_bytes()) is (to != ["--text"])
    assert [layer.type for layer in binary.read_any(tmp_path / "new").message.layer] == ["DummyData", "ReLU"]


@pytest.mark.parametrize(("name", "expected"), [("n.prototxt", False), ("n.TXT", False), ("n.caffemodel", True)])
@pytest.mark.parametrize("old", ["text", "binary"])
def test_the_new_name_says_the_form(old: str, name: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(V1)
    binary.write(tmp_path / "binary", text.parse(V1).message)
    assert main(["upgrade", str(tmp_path / old), str(tmp_path / name)]) == 0
    assert binary.is_binary((tmp_path / name).read_bytes()) is expected
    other = ["--text"] if expected else ["--binary"]
    assert main(["upgrade", str(tmp_path / old), str(tmp_path / name), *other]) == 0
    assert binary.is_binary((tmp_path / name).read_bytes()) is not expected


def test_in_place_and_again(tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_text(V1)
    assert main(["upgrade", str(path), str(path)]) == 0
    once = path.read_bytes()
    assert main(["upgrade", str(path), str(path)]) == 0
    assert path.read_bytes() == once and list(tmp_path.iterdir()) == [path]


def test_misplaced_fields_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is written all the same."""
    dims = "input_dim: 1 " * 4
    layer = 'layers { layer { name: "r" type: "relu" num_output: 3 } bottom: "d" top: "d" }'
    (tmp_path / "old").write_text(f'input: "d" {dims}\n{layer}')
    assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    assert "num_output" in capsys.readouterr().err and (tmp_path / "new").exists()


def test_an_error_leaves_the_new_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").write_text("layer { nme: 'x' }")
    (tmp_path / "new").write_text("kept")
    assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    assert "did you mean 'name'?" in capsys.readouterr().err
    assert (tmp_path / "new").read_text() == "kept"
