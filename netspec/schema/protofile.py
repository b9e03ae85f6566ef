"""Reads .proto files (the proto2 subset the schema uses) into descriptors, so that no compiler is needed.

`extend Name { ... }` adds fields to a message of an earlier file, and values to its enums: that is how forks' and
users' fields come in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from google.protobuf import descriptor_pb2 as d

from netspec.errors import Loc, SpecError

TOKEN = re.compile(r'\s+|//[^\n]*|("(?:[^"\\]|\\.)*")|([A-Za-z_][\w.]*|-?[\d.][\w.+-]*|[{}\[\]=;,])', re.S)
SCALARS = {
    t: getattr(d.FieldDescriptorProto, f"TYPE_{t.upper()}")
    for t in ("double", "float", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes")
}
LABELS = {t: getattr(d.FieldDescriptorProto, f"LABEL_{t.upper()}") for t in ("optional", "required", "repeated")}


def read(files: Iterable[tuple[str, str]]) -> d.FileDescriptorProto:
    """All `(name, text)` files as one file descriptor of package caffe, types resolved."""
    out = d.FileDescriptorProto(name="netspec/caffe.proto", package="caffe", syntax="proto2")
    for name, text in files:
        _Reader(name, text, out).file()
    _resolve(out)
    return out


class _Reader:
    def __init__(self, name: str, text: str, out: d.FileDescriptorProto) -> None:
        self.name, self.out, self.at = name, out, 0
        self.tokens: list[tuple[str, int]] = []
        pos = 0
        while pos < len(text):
            m = TOKEN.match(text, pos)
            if not m:
                raise self.error(f"unexpected character '{text[pos]}'", text.count("\n", 0, pos) + 1)
            if m.group(1) or m.group(2):
                self.tokens.append((m.group(), text.count("\n", 0, pos) + 1))
            pos = m.end()

    def error(self, message: str, line: int) -> SpecError:
        return SpecError(message, Loc(self.name, line))

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def next(self, want: str | None = None) -> str:
        if self.at >= len(self.tokens):
            raise self.error("unexpected end of file", 0)
        token, line = self.tokens[self.at]
        if want is not None and token != want:
            raise self.error(f"expected '{want}', found '{token}'", line)
        self.at += 1
        return token

    def file(self) -> None:
        while self.peek():
            word = self.next()
            if word == "message":
                self.message(self.out.message_type.add(name=self.next()))
            elif word == "extend":
                self.message(self.existing(self.next()))
            elif word == "enum":
                self.enum(self.out.enum_type.add(name=self.next()))
            else:
                while self.next() != ";":
                    pass

    def existing(self, name: str) -> d.DescriptorProto:
        for message in self.out.message_type:
            if message.name == name:
                return message
        raise self.error(f"extend: no message '{name}'", self.tokens[self.at - 1][1])

    def message(self, into: d.DescriptorProto) -> None:
        self.next("{")
        while self.peek() != "}":
            word = self.next()
            if word == "enum":
                self.enum(self.own_enum(into, self.next()))
            elif word in LABELS:
                self.field(into, LABELS[word])
            else:
                raise self.error(f"expected a field, found '{word}'", self.tokens[self.at - 1][1])
        self.next("}")

    def own_enum(self, into: d.DescriptorProto, name: str) -> d.EnumDescriptorProto:
        """The enum of that name, to which an `extend` adds values, or a new one."""
        return next((e for e in into.enum_type if e.name == name), None) or into.enum_type.add(name=name)

    def field(self, into: d.DescriptorProto, label: int) -> None:
        kind, name = self.next(), self.next()
        line = self.tokens[self.at - 1][1]
        if any(f.name == name for f in into.field):
            raise self.error(f"message {into.name} has a field '{name}' already", line)
        self.next("=")
        number = int(self.next())
        taken = next((f.name for f in into.field if f.number == number), None)
        if taken:
            raise self.error(f"number {number} of message {into.name} is that of field '{taken}'", line)
        f = into.field.add(name=name, number=number, label=label)  # type: ignore[arg-type]
        if kind in SCALARS:
            f.type = SCALARS[kind]
        else:
            f.type_name = kind
        if self.peek() == "[":
            self.options(f)
        self.next(";")

    def options(self, f: d.FieldDescriptorProto) -> None:
        self.next("[")
        while True:
            key, _, value = self.next(), self.next("="), self.next()
            if key == "default":
                f.default_value = value[1:-1] if value.startswith('"') else value
            elif key == "packed":
                f.options.packed = value == "true"
            if self.next() == "]":
                return

    def enum(self, into: d.EnumDescriptorProto) -> None:
        self.next("{")
        while self.peek() != "}":
            name, _, number = self.next(), self.next("="), self.next()
            into.value.add(name=name, number=int(number))
            self.next(";")
        self.next("}")


def _resolve(out: d.FileDescriptorProto) -> None:
    """Gives every named field type its full name and its kind, message or enum."""
    messages = {m.name for m in out.message_type}
    for m in out.message_type:
        own = {e.name for e in m.enum_type}
        for f in m.field:
            if not f.type_name:
                continue
            if f.type_name in messages:
                f.type = d.FieldDescriptorProto.TYPE_MESSAGE
                f.type_name = f".caffe.{f.type_name}"
            else:
                scope = f".caffe.{m.name}." if f.type_name in own else ".caffe."
                f.type = d.FieldDescriptorProto.TYPE_ENUM
                f.type_name = scope + f.type_name
