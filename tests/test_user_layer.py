"""The layer that CONTRIBUTING.md adds from outside the package: found, checked, trained, its weights saved."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netspec import schema
from netspec.errors import SpecError

GUIDE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
NET = """name: "n"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 3 } data_filler { type: "gaussian" } data_filler { type: "constant" } } }
layer { name: "wave" type: "Sine" bottom: "data" top: "wave"
  sine_param { omega: %s filler { type: "constant" value: 2 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "wave" bottom: "label" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 20 snapshot_prefix: "sine"\n'


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder on the Python path with the guide's module, and nets beside it."""
    (tmp_path / "sine_layer.py").write_text(block("python"))
    (tmp_path / "net.prototxt").write_text(NET % "0.5")
    (tmp_path / "bad.prototxt").write_text(NET % "-1")
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def install(project: Path, module: str = "sine_layer") -> None:
    """What an installer makes of the guide's pyproject.toml."""
    info = project / "sine_layer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sine-layer\nVersion: 1.0\n")
    group, row = re.fullmatch(r'\[project\.entry-points\."(.+)"\]\n(.+)\n', block("toml")).groups()  # type: ignore[union-attr]
    (info / "entry_points.txt").write_text(f"[{group}]\n{row.replace(chr(34), '').replace('sine_layer', module)}\n")


def python(project: Path, *arguments: str, status: int = 0) -> str:
    paths = os.pathsep.join([str(project), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_an_announced_layer_is_there(project: Path) -> None:
    install(project)
    assert "omega" in python(project, "-m", "netspec", "layers", "Sine")
    python(project, "-m", "netspec", "solve", "solver.prototxt", "--seed", "1")
    code = "import sys, netspec; assert 'sine_layer' not in sys.modules; print(netspec.load(*sys.argv[1:])"
    code += ".state_dict()['wave.weight'].abs().max().item(), 'sine_layer' in sys.modules)"
    weight, known = python(project, "-c", code, "net.prototxt", "sine_iter_20.caffemodel").split()
    assert float(weight) < 1.9 and known == "True"


def test_its_errors_have_a_place(project: Path) -> None:
    install(project)
    message = python(project, "-m", "netspec", "show", "bad.prototxt", status=1)
    assert "bad.prototxt:5:16: error: layer 'wave' (Sine): omega -1 must be above 0" in message


def test_an_imported_layer_is_there(project: Path) -> None:
    code = "import sine_layer, netspec; print(netspec.load('net.prototxt').state_dict()['wave.weight'].tolist())"
    assert python(project, "-c", code).strip() == "[2.0, 2.0, 2.0]"
    assert "no field 'sine_param'" in python(project, "-m", "netspec", "show", "net.prototxt", status=1)


def test_a_broken_package_is_named(project: Path) -> None:
    install(project, "no_such_module")
    message = python(project, "-m", "netspec", "layers", "Pooling", status=1)
    assert "the layers of package 'sine-layer' (no_such_module) cannot be imported" in message
    assert "Traceback" not in message


def test_a_number_that_is_taken() -> None:
    with pytest.raises(
        SpecError, match=r"mine.proto:2: .*number 121 of message LayerParameter is that of field 'pooling_"
    ):
        schema.extend("\nextend LayerParameter { optional float mine = 121; }", "mine.proto")
    assert "mine" not in schema.message_class("LayerParameter").DESCRIPTOR.fields_by_name
