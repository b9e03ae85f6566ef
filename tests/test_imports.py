"""Imports go down only, and what answers at once never imports torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netspec

ROOT = Path(netspec.__file__).parent
PROTOTXT = ROOT.parent / "prototxt"
# Each part may import from its own rank and from lower ones.
RANKS = [
    ("__init__", "errors", "heap", "lazytorch"),
    ("schema",),
    ("spec",),
    ("ir",),
    ("fillers", "data"),
    ("layers",),
    ("passes",),
    ("net", "weights", "draw"),
    ("solver", "segmentation", "check", "report", "export", "surgery"),
    ("pycaffe",),
    ("cli", "__main__"),
]
NO_TORCH = ("errors", "schema", "spec", "ir")
FILES = sorted(ROOT.rglob("*.py"))


def rank(part: str) -> int:
    """A module beside net.py that is not named stands with it."""
    beside = next(n for n, parts in enumerate(RANKS) if "net" in parts)
    return next((n for n, parts in enumerate(RANKS) if part in parts), beside if (ROOT / f"{part}.py").exists() else -1)


def imports(path: Path) -> list[str]:
    """Modules that a file imports at any depth of its code, but for the sake of types alone."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(n) for top in ast.walk(tree) if is_type_checking(top) for n in ast.walk(top)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [
                f"{node.module}.{alias.name}" if node.module == "netspec" else node.module for alias in node.names
            ]
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = rank(part_of(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "netspec" and len(parts) > 1 and not parts[1].startswith("__"):
            assert -1 < rank(parts[1]) <= here, f"{path.name} imports {name}, which stands above it"
        assert parts[0] != "torch" or part_of(path) not in NO_TORCH


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["diff", str(PROTOTXT / "voc-fcn32s/train.prototxt"), str(PROTOTXT / "voc-fcn8s/train.prototxt")],
        ["show", str(PROTOTXT / "voc-fcn8s/train.prototxt")],
        ["check", str(PROTOTXT / "voc-fcn8s/train.prototxt")],
        ["draw", str(PROTOTXT / "voc-fcn8s/train.prototxt"), "-o", "{tmp}/net.html"],
        ["layers", "Convolution"],
        ["upgrade", str(PROTOTXT / "voc-fcn8s/train.prototxt"), "{tmp}/new.prototxt"],
        ["deploy", str(PROTOTXT / "googlenet/train_val.prototxt"), "-o", "{tmp}/deploy.prototxt"],
    ],
    ids=lambda a: a[0],
)
def test_without_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from netspec.cli import main; s = main(sys.argv[1:]); sys.exit(3 if 'torch' in sys.modules else s)"
    )
    arguments = [a.replace("{tmp}", str(tmp_path)) for a in arguments]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if arguments[0] == "diff" else 0), done.stderr


def test_import_netspec_alone() -> None:
    code = "import netspec, sys; netspec.load_graph; netspec.diff; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
