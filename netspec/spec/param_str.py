"""The param_str of a Python layer, as far as it is data."""

from __future__ import annotations

import ast
from typing import Any


def entries(text: object) -> dict[Any, Any] | None:
    """A Python dict of literals in a string, read and never run; None if it is anything else."""
    try:
        found = ast.literal_eval(text) if isinstance(text, str) else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
