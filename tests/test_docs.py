"""What the documents say of the layers is what the registry says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from netspec.layers import Layer, catalogue

ROOT = Path(__file__).parent.parent


def generated() -> str:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_layer_docs
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return make_layer_docs.text()


def test_layers_page_is_current() -> None:
    assert (ROOT / "docs" / "layers.md").read_text() == generated(), "run python tools/make_layer_docs.py"


OWN = [cls for cls in catalogue().values() if cls.__module__.startswith("netspec.")]


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.type)
def test_a_layer_says_what_it_does(cls: type[Layer]) -> None:
    """The rule in the first line, then the blocks that apply, in one order."""
    first, _, rest = (cls.__doc__ or "").partition("\n")
    assert re.search(r"[.:]$", first) and len(first) < 120, first
    blocks = re.findall(r"^ *(Shapes|Blobs|Errors|Source):", rest, re.MULTILINE)
    assert blocks == [b for b in ("Shapes", "Blobs", "Errors", "Source") if b in blocks]
    assert "Source" in blocks
    assert "Shapes" in blocks or cls.type.startswith("Mat")
