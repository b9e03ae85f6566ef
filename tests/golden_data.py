"""Where the golden data lies: values computed with Caffe itself, which decide what is right."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent


def golden(part: str) -> Path:
    """A folder of the whole set ($NETSPEC_GOLDEN), or of the part that is kept here."""
    path = Path(os.environ.get("NETSPEC_GOLDEN") or HERE / "golden") / part
    if not path.exists():
        pytest.skip(f"no golden data in {path}")
    return path


def golden_json(part: str) -> Any:
    """A JSON file of the set; an empty dict where it is missing, so that tests can be listed without it."""
    path = Path(os.environ.get("NETSPEC_GOLDEN") or HERE / "golden") / part
    return json.loads(path.read_text()) if path.exists() else {}


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz."""
    with np.load(path) as z:
        return {k: z[k] for k in z.files}


def real_data() -> Path:
    """A folder of small real data sets ($NETSPEC_REAL_DATA, or shared/data beside the checkout); skips without."""
    path = Path(os.environ.get("NETSPEC_REAL_DATA") or HERE.parent.parent / "shared" / "data")
    if not path.exists():
        pytest.skip("no real data at hand")
    return path
