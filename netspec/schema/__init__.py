"""The message classes of Caffe's schema, in a descriptor pool of their own.

A private pool never clashes with another caffe_pb2 in the process. The classes are made on first use from
caffe.proto and forks/*.proto; `extend` adds a user's own fields. Packages that announce themselves by the entry point
group `netspec.layers` are imported before, so that the fields they add are known when the first net is read.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from netspec.errors import SpecError, suggestion
from netspec.schema import protofile

HERE = Path(__file__).parent
_extra: list[tuple[str, str]] = []
_announced = False


def sources() -> list[tuple[str, str]]:
    """`(name, text)` of every .proto file that makes up the schema, in order."""
    files = [HERE / "caffe.proto", *sorted((HERE / "forks").glob("*.proto"))]
    return [(str(f), f.read_text(encoding="utf-8")) for f in files] + _extra


def extend(text: str, name: str = "extension.proto") -> None:
    """Adds a user's own messages and `extend LayerParameter { ... }` fields to the schema.

    Call it before nets are read: messages read earlier keep the schema they were read with.
    """
    protofile.read([*sources(), (name, text)])
    _extra.append((name, text))
    _pool.cache_clear()
    message_class.cache_clear()


def load_announced() -> None:
    """Imports, once, the modules that other packages name by the entry point group `netspec.layers`."""
    global _announced
    if _announced:
        return
    _announced = True
    for entry in metadata.entry_points(group="netspec.layers"):
        try:
            entry.load()
        except Exception as e:
            package = entry.dist.name if entry.dist else entry.value
            raise SpecError(f"the layers of package '{package}' ({entry.value}) cannot be imported: {e!r}") from e


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(protofile.read(sources()).SerializeToString())
    return pool


@cache
def message_class(name: str) -> Any:
    """The class of a message, by its name in the schema: `message_class("LayerParameter")`."""
    load_announced()
    try:
        descriptor = _pool().FindMessageTypeByName(f"caffe.{name}")
    except KeyError:
        raise KeyError(f"no message '{name}' in the schema") from None
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_pool()).GetPrototype(descriptor)


def new(name: str, /, **fields: Any) -> Any:
    """A new message with fields set: `new("NetState", phase=0)`."""
    return message_class(name)(**fields)


def enum_name(message: Message, field: str) -> str:
    """The name of an enum field's value: `enum_name(pooling_param, "pool")` is "MAX"."""
    enum: Any = message.DESCRIPTOR.fields_by_name[field].enum_type
    return enum.values_by_number[getattr(message, field)].name


def did_you_mean(message: Message, field: str) -> str:
    """The nearest field name of a message, as a phrase for an error."""
    return suggestion(field, message.DESCRIPTOR.fields_by_name)


def __getattr__(name: str) -> Any:
    """`schema.LayerParameter` is `message_class("LayerParameter")`."""
    if not name[:1].isupper():
        raise AttributeError(name)
    try:
        return message_class(name)
    except KeyError as e:
        raise AttributeError(str(e)) from None
