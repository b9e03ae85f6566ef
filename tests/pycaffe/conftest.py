"""Fixtures of the tests of Caffe's interface."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netspec.pycaffe as caffe

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes files in a folder of the test's own, which is the current one; gives the path."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "net.prototxt") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture
def net(make: Callable[..., str]) -> Callable[..., caffe.Net]:
    """A net from its text."""
    return lambda text, phase=caffe.TEST, **settings: caffe.Net(make(text), phase, **settings)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`import caffe`, and the examples' modules, in this test only."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    caffe.serve()
    yield
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", "") or ""
        if name.split(".")[0] == "caffe" or path.startswith(str(EXAMPLES)):
            del sys.modules[name]
