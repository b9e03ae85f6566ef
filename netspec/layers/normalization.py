"""What a loss over many places is divided by: the rule that the classifying losses share."""

from __future__ import annotations

from typing import Any

from netspec import schema
from netspec.lazytorch import torch


def normalization(loss_param: Any, default: str = "VALID") -> str:
    """FULL, VALID, BATCH_SIZE, NONE or PRE_FIXED: `normalization` if given, else `normalize`, else the layer's default.

    normalize: true is VALID, false is BATCH_SIZE.
    """
    if loss_param.HasField("normalization"):
        return schema.enum_name(loss_param, "normalization")
    if loss_param.HasField("normalize"):
        return "VALID" if loss_param.normalize else "BATCH_SIZE"
    return default


def normalizer(
    loss_param: Any, outer: int, inner: int, valid: torch.Tensor | int | None, default: str = "VALID"
) -> torch.Tensor | float:
    """The divisor of a loss over outer x inner places, of which `valid` count; at least 1.

    FULL is outer · inner, VALID is `valid` (None: nothing is ignored, so all), BATCH_SIZE is outer, NONE is 1,
    PRE_FIXED (R-FCN, Intel) is pre_fixed_normalizer.
    A tensor stays one, so that nothing waits for the device.
    """
    mode = normalization(loss_param, default)
    if mode == "VALID" and isinstance(valid, torch.Tensor):
        return valid.clamp(min=1)
    counted = outer * inner if valid is None else valid
    places = {"FULL": outer * inner, "VALID": counted, "BATCH_SIZE": outer, "NONE": 1}
    return max(1, loss_param.pre_fixed_normalizer if mode == "PRE_FIXED" else places[mode])
