"""Errors that are also what scripts written for Caffe catch."""

from __future__ import annotations

import os
from pathlib import Path

from netspec.errors import Loc, SpecError


class NoLayerError(SpecError, ValueError):
    """A layer name that the net does not have."""


class NoBlobError(SpecError, KeyError):
    """A blob name that the net does not have."""


class NoTopError(SpecError, AttributeError, KeyError):
    """A name that a NetSpec does not have."""


class CallError(SpecError, RuntimeError):
    """A file that cannot be opened, arrays that do not fit."""


def check_file(file: str | Path) -> None:
    """CallError unless the file can be opened."""
    try:
        with open(os.fspath(file), "rb"):
            pass
    except OSError as e:
        raise CallError(f"cannot read: {e.strerror}", Loc(str(file))) from None
