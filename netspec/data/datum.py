"""Datum, the record of Caffe's databases: pixels C x H x W (uint8 or float32), or an encoded image, and a label."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from netspec import schema
from netspec.data.images import decode
from netspec.errors import SpecError


def parse(data: bytes, where: str) -> Any:
    """The message; `where` names the record in errors."""
    datum = schema.message_class("Datum")()
    try:
        datum.ParseFromString(data)
    except DecodeError:
        raise SpecError(f"{where} is no Datum (cut short or damaged)") from None
    return datum


def pixels(datum: Any, where: str, color: bool | None = None) -> np.ndarray:
    """C x H x W, uint8 or float32. `color` chooses the channels of an encoded image, as for `images.decode`."""
    if datum.encoded:
        return decode(datum.data, color, where).transpose(2, 0, 1)
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise SpecError(f"{where} has size {text(shape)}")
    if datum.data:
        values = np.frombuffer(datum.data, np.uint8)
    else:
        values = np.array(datum.float_data, np.float32)
    if values.size != shape[0] * shape[1] * shape[2]:
        raise SpecError(f"{where} holds {values.size} values, its size {text(shape)} asks for others")
    return values.reshape(shape)


def text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
