"""The message classes of Caffe's schema, from netspec's own descriptor pool, by the names the generated module has."""

from __future__ import annotations

from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from netspec import schema


def __getattr__(name: str) -> Any:
    file = schema.message_class("NetParameter").DESCRIPTOR.file
    if name == "DESCRIPTOR":
        return file
    if name in file.message_types_by_name:
        return schema.message_class(name)
    if name in file.enum_types_by_name:
        return EnumTypeWrapper(file.enum_types_by_name[name])
    for enum in file.enum_types_by_name.values():
        if name in enum.values_by_name:
            return enum.values_by_name[name].number
    raise AttributeError(f"caffe_pb2 has no '{name}'")


def __dir__() -> list[str]:
    file = schema.message_class("NetParameter").DESCRIPTOR.file
    values = [v for enum in file.enum_types_by_name.values() for v in enum.values_by_name]
    return sorted([*file.message_types_by_name, *file.enum_types_by_name, *values, "DESCRIPTOR"])
