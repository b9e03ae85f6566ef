"""Layer types as functions: `from caffe import layers as L; L.Convolution(bottom, num_output=20)`."""

from __future__ import annotations

from typing import Any

from netspec.pycaffe import net_spec


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return net_spec.layer(name)
