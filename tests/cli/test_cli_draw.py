"""netspec draw: what it writes, and what it says of misfits."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.cli import main

PROTOTXT = Path(__file__).parents[2] / "prototxt"
FCN8 = str(PROTOTXT / "voc-fcn8s/train.prototxt")


@pytest.mark.parametrize("suffix", ["svg", "png", "dot", "html"])
def test_forms(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"net.{suffix}"
    assert main(["draw", str(PROTOTXT / "caffenet/deploy.prototxt"), "-o", str(file)]) == 0
    assert file.stat().st_size > 2000 and capsys.readouterr() == ("", "")


def test_shapes(tmp_path: Path) -> None:
    file = tmp_path / "net.svg"
    assert main(["draw", FCN8, "-o", str(file)]) == 0 and ">3x500x500<" in file.read_text()
    assert main(["draw", FCN8, "-o", str(file), "--shape", "data=2x3x64x96", "--shape", "label=2x1x64x96"]) == 0
    assert ">2x3x64x96<" in file.read_text()


def test_both_phases_on_a_page(tmp_path: Path) -> None:
    net, file = str(PROTOTXT / "googlenet/train_val.prototxt"), tmp_path / "net.html"
    assert main(["draw", net, "-o", str(file)]) == 0 and '"name":"TEST"' in file.read_text()
    assert main(["draw", net, "-o", str(file), "--phase", "TRAIN"]) == 0 and '"name":"TEST"' not in file.read_text()


def test_closed_and_dark(tmp_path: Path) -> None:
    file, net = tmp_path / "net.svg", str(PROTOTXT / "googlenet/deploy.prototxt")
    assert main(["draw", net, "-o", str(file), "--closed", "--dark"]) == 0
    text = file.read_text()
    assert "inception_3a" in text and "inception_3a/1x1" not in text and "#16191d" in text


def test_unknown_layers_are_drawn_without_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net, file = tmp_path / "net.prototxt", tmp_path / "net.svg"
    net.write_text(
        'layer { name: "d" type: "Input" top: "d" } layer { name: "x" type: "NotThere" bottom: "d" top: "x" }'
    )
    assert main(["draw", str(net), "-o", str(file)]) == 0
    assert "shown without shapes" in caplog.text and "NotThere" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-o", "net.gif"], 1, "none of the suffixes"),
        ([], 2, "Missing option '-o'"),
        (["-o", "nowhere/net.svg"], 1, "cannot write"),
        (["-o", "net.svg", "--shape", "date=1x3x8x8"], 1, "did you mean 'data'?"),
    ],
)
def test_misfits(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", FCN8, *arguments]) == status
    assert words in capsys.readouterr().err and not list(tmp_path.iterdir())
