"""Enum values of layers' settings: `from caffe import params as P; P.Pooling.MAX`."""

from __future__ import annotations

from typing import Any

from netspec.pycaffe import net_spec


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return net_spec.Enums(name)
