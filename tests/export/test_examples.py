"""docs/exported shows what is written today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("name", ["fcn8s", "googlenet", "resnet50"])
def test_example(name: str) -> None:
    spec = importlib.util.spec_from_file_location("make_exported", ROOT / "tools/make_exported.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.example(name) == (ROOT / "docs/exported" / f"{name}.py").read_text(encoding="utf-8")
