"""One spelling for settings that mean the same, so that layers can be compared field by field.

1. A field that says its default is left out, and so is a message of settings that then says nothing.
2. kernel_h, kernel_w and their like become kernel_size, stride, pad; one number where both axes agree.
3. concat_dim and slice_dim become axis; normalize becomes normalization.
4. Trailing params that say nothing are left out.
5. A loss_weight of 0 is left out, and of 1 on an unread loss.
6. Stored blobs are left out: weights are compared as weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from netspec import schema
from netspec.spec.text import dump, float_text, is_repeated, parse

Value = Any
WINDOWS = ("kernel", "stride", "pad")
# What repeated fields mean where they are not given.
IMPLIED = {"stride": (1,), "pad": (0,), "dilation": (1,)}
WIRING = ("name", "type", "bottom", "top")


def canonical(proto: Any, read: bool = False) -> Any:
    """A LayerParameter in its one spelling; `read`: whether another layer reads one of its tops."""
    out = type(proto)()
    out.CopyFrom(proto)
    out.ClearField("blobs")
    if out.HasField("convolution_param"):
        _convolution_windows(out.convolution_param)
    if out.HasField("pooling_param"):
        _pooling_windows(out.pooling_param)
    for name, old in (("concat_param", "concat_dim"), ("slice_param", "slice_dim")):
        param = getattr(out, name)
        if param.HasField(old):
            param.axis = getattr(param, old)
            param.ClearField(old)
    _loss(out, read)
    _strip(out)
    while len(out.param) and not out.param[-1].ListFields():
        del out.param[-1]
    return out


def _convolution_windows(p: Any) -> None:
    for name in WINDOWS:
        field = "kernel_size" if name == "kernel" else name
        if _per_axis(p, name):
            getattr(p, field)[:] = [getattr(p, f"{name}_h"), getattr(p, f"{name}_w")]
            p.ClearField(f"{name}_h")
            p.ClearField(f"{name}_w")
    for field in ("kernel_size", "stride", "pad", "dilation"):
        values = list(getattr(p, field))
        if len(values) > 1 and len(set(values)) == 1:
            getattr(p, field)[:] = values[:1]
        if tuple(getattr(p, field)) == IMPLIED.get(field):
            p.ClearField(field)


def _per_axis(p: Any, name: str) -> bool:
    """Whether the _h and _w forms are given; of pad one is enough, the other is then 0."""
    given = [p.HasField(f"{name}_{axis}") for axis in "hw"]
    return any(given) if name == "pad" else all(given)


def _pooling_windows(p: Any) -> None:
    for name in WINDOWS:
        field = "kernel_size" if name == "kernel" else name
        if _per_axis(p, name) and getattr(p, f"{name}_h") == getattr(p, f"{name}_w"):
            setattr(p, field, getattr(p, f"{name}_h"))
            p.ClearField(f"{name}_h")
            p.ClearField(f"{name}_w")


def _loss(out: Any, read: bool) -> None:
    param = out.loss_param
    if param.HasField("normalize"):
        if not param.HasField("normalization"):
            param.normalization = _mode(param, "VALID" if param.normalize else "BATCH_SIZE")
        param.ClearField("normalize")
    if param.HasField("normalization") and param.normalization == _mode(param, normalization(out.type)):
        param.ClearField("normalization")
    weights = list(out.loss_weight)
    loss = out.type.endswith("Loss")
    if weights == [1.0, *[0.0] * (len(weights) - 1)] and loss and not read or not any(weights) and not loss:
        out.ClearField("loss_weight")


def _mode(param: Any, name: str) -> int:
    return param.DESCRIPTOR.enum_types_by_name["NormalizationMode"].values_by_name[name].number


def normalization(type: str) -> str:
    """What a loss layer is divided by where it does not say."""
    return "BATCH_SIZE" if type == "SigmoidCrossEntropyLoss" else "VALID"


def _strip(message: Any) -> None:
    """Clears what says no more than the schema's defaults do."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for part in value if is_repeated(descriptor) else [value]:
                if descriptor.message_type.name != "NetStateRule":
                    _strip(part)
            if not is_repeated(descriptor) and not value.ListFields():
                message.ClearField(descriptor.name)
        elif not is_repeated(descriptor) and _says_default(message, descriptor, value):
            message.ClearField(descriptor.name)


def _says_default(message: Any, descriptor: Any, value: Value) -> bool:
    """The two halves of a pair, and what depends on the layer's type, are never stripped."""
    if not descriptor.has_default_value or descriptor.name == "normalization" or descriptor.name[-2:] in ("_h", "_w"):
        return False
    return value == getattr(_empty(type(message)), descriptor.name)


@cache
def _empty(cls: Any) -> Any:
    return cls()


def fields(proto: Any) -> dict[str, Value]:
    """`{path: value}` of a canonical layer, without its wiring: `param[0].lr_mult`, `convolution_param.kernel_size`.

    Enums are their names, repeated values tuples; a list of messages other than `param` is a tuple of their texts.
    """
    return dict(_fields(proto, ""))


def _fields(message: Any, prefix: str) -> Iterator[tuple[str, Value]]:
    for descriptor, value in message.ListFields():
        path = prefix + descriptor.name
        if not prefix and descriptor.name in WIRING:
            continue
        if path == "param":
            for i, part in enumerate(value):
                yield from _fields(part, f"param[{i}].")
        elif path == "pooling_param":
            yield from _pooling_fields(value)
        elif descriptor.message_type is not None and is_repeated(descriptor):
            yield path, tuple(" ".join(dump(part).split()) for part in value)
        elif descriptor.message_type is not None:
            yield from _fields(value, path + ".")
        else:
            yield path, plain(descriptor, value)


def _pooling_fields(message: Any) -> Iterator[tuple[str, Value]]:
    """A window given per axis is one field of two numbers."""
    found = dict(_fields(message, "pooling_param."))
    for name in WINDOWS:
        size = f"pooling_param.{'kernel_size' if name == 'kernel' else name}"
        if _per_axis(message, name):
            found[size] = tuple(found.pop(f"pooling_param.{name}_{axis}", 0) for axis in "hw")
    return iter(found.items())


def plain(descriptor: Any, value: Value) -> Value:
    """A scalar or list of scalars as Python sees it, enums by name, floats as they are written."""
    if is_repeated(descriptor):
        return tuple(_scalar(descriptor, v) for v in value)
    return _scalar(descriptor, value)


def _scalar(descriptor: Any, value: Value) -> Value:
    if descriptor.enum_type is not None:
        return descriptor.enum_type.values_by_number[value].name
    return float(float_text(value)) if isinstance(value, float) else value


@cache
def default(path: str, type: str) -> Value:
    """What a field of a type's layer means where it is not given; None if the schema does not say."""
    if path == "loss_param.normalization":
        return normalization(type)
    message, descriptor = _empty(schema.LayerParameter), None
    for name in re.sub(r"\[\d+\]", "", path).split("."):
        if descriptor is not None:
            message = schema.message_class(descriptor.message_type.name)()
        descriptor = message.DESCRIPTOR.fields_by_name[name]
    if descriptor is None or is_repeated(descriptor):
        return IMPLIED.get(path.rpartition(".")[2], ()) if path.startswith("convolution_param.") else ()
    return plain(descriptor, getattr(message, descriptor.name)) if descriptor.has_default_value else None


def set_field(proto: Any, path: str, value: Value) -> None:
    """Sets one of the values that `fields` gives; None clears it."""
    message = proto
    *heads, last = path.split(".")
    for head in heads:
        m = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", head)
        assert m
        message = getattr(message, m[1])
        if m[2]:
            while len(message) <= int(m[2]):
                message.add()
            message = message[int(m[2])]
    message.ClearField(last)
    name = "kernel" if last == "kernel_size" else last
    if heads == ["pooling_param"] and name in WINDOWS:
        message.ClearField(f"{name}_h")
        message.ClearField(f"{name}_w")
        if isinstance(value, tuple):
            setattr(message, f"{name}_h", value[0])
            setattr(message, f"{name}_w", value[1])
            return
    if value is not None:
        _assign(message, message.DESCRIPTOR.fields_by_name[last], value)


def _assign(message: Any, descriptor: Any, value: Value) -> None:
    name = descriptor.name
    if descriptor.message_type is not None:
        for text in value:
            getattr(message, name).add().CopyFrom(parse(text, message=descriptor.message_type.name).message)
    elif is_repeated(descriptor):
        getattr(message, name).extend(_number(descriptor, v) for v in value)
    else:
        setattr(message, name, _number(descriptor, value))


def _number(descriptor: Any, value: Value) -> Value:
    return descriptor.enum_type.values_by_name[value].number if descriptor.enum_type is not None else value
