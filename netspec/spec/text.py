"""prototxt text <-> messages, with the place of every field.

`parse` reads what Caffe's text parser reads and what occurs in the wild: comments, single quotes, `layer:{`, `<...>`,
`[a, b]` lists, `;` and `,` between fields, adjacent strings, nan and inf, `1e-4f`, hexadecimal and octal, Windows
line ends, a byte order mark. `dump` writes a message back in one canonical form.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as FD
from google.protobuf.message import Message

from netspec import schema
from netspec.errors import Loc, SpecError, suggestion

TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n\v\f]+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fF]?)
      | (?P<punct>[{}<>\[\]:;,-])""",
    re.X,
)
INTEGERS = {FD.CPPTYPE_INT32: 32, FD.CPPTYPE_INT64: 64, FD.CPPTYPE_UINT32: 32, FD.CPPTYPE_UINT64: 64}
UNSIGNED = {FD.CPPTYPE_UINT32, FD.CPPTYPE_UINT64}
UNSIGNABLE = {FD.CPPTYPE_STRING, FD.CPPTYPE_ENUM, FD.CPPTYPE_BOOL}
Field = Any
"""A field's descriptor; protobuf's own type stubs differ from version to version."""
TRUE, FALSE = {"true", "True", "t", "1"}, {"false", "False", "f", "0"}
ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11}


@dataclass
class Place:
    """Where a message stands, and where each of its fields does: `place.fields["pad"][0]`."""

    loc: Loc
    fields: dict[str, list[Place]] = field(default_factory=dict)

    def of(self, path: str) -> Loc:
        """The place of a field by dotted path, as near as is known: `of("crop_param.offset")`."""
        place = self
        for name in path.split("."):
            found = place.fields.get(name)
            if not found:
                break
            place = found[0]
        return place.loc


@dataclass
class Document:
    """A parsed file: the message, and where everything in it stood."""

    message: Any
    place: Place

    @property
    def file(self) -> str:
        return self.place.loc.file


def read(path: str | Path, message: str = "NetParameter") -> Document:
    """Parses a file; a missing or unreadable one is a SpecError."""
    try:
        text = Path(path).read_bytes()
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", Loc(str(path))) from None
    return parse(decode(text, str(path)), str(path), message)


def decode(data: bytes, file: str) -> str:
    """UTF-8, else Latin-1; binary data is refused."""
    if b"\0" in data[:4096]:
        raise SpecError("not a text file (it holds zero bytes)", Loc(file))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse(text: str, file: str = "<text>", message: str = "NetParameter") -> Document:
    """Text -> Document. Errors name file, line and column, show the line, and guess at the field that was meant."""
    return _Parser(text.removeprefix("\ufeff"), file).document(schema.message_class(message)())


class _Parser:
    """A recursive descent over tokens `(kind, text, position)`."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.line = 0
        self.tokens = self._tokens()
        self.at = 0
        self.outer: list[Message] = []

    def _tokens(self) -> list[tuple[str, str, int]]:
        tokens, pos = [], 0
        while pos < len(self.text):
            m = TOKEN.match(self.text, pos)
            if not m:
                c = self.text[pos]
                raise self.error(
                    "string without its closing quote" if c in "\"'" else f"unexpected character {c!r}", pos
                )
            kind = str(m.lastgroup)
            if kind != "skip":
                tokens.append((kind, m.group(), pos))
            pos = m.end()
            if kind == "number" and pos < len(self.text) and re.match(r"\w", self.text[pos]):
                raise self.error(f"malformed number '{m.group()}{self.text[pos]}'", m.start())
        last = tokens[-1] if tokens else ("", "", 0)
        tokens.append(("end", "", last[2] + len(last[1])))
        return tokens

    def loc(self, pos: int) -> Loc:
        """Positions mostly rise, so the search for the line goes on from the last one."""
        line = self.line if pos >= self.starts[self.line] else 0
        while line + 1 < len(self.starts) and self.starts[line + 1] <= pos:
            line += 1
        self.line = line
        return Loc(self.file, line + 1, pos - self.starts[line] + 1)

    def error(self, message: str, pos: int) -> SpecError:
        loc = self.loc(pos)
        line = self.text[self.starts[loc.line - 1] :].split("\n", 1)[0].rstrip("\r")
        shown = line.replace("\t", " ")
        start = max(0, loc.col - 80)
        caret = " " * (loc.col - 1 - start) + "^"
        return SpecError(message, loc, f"  {shown[start : start + 120]}\n  {caret}")

    def document(self, message: Message) -> Document:
        place = Place(Loc(self.file, 1, 1))
        self.fields(message, place, "")
        return Document(message, place)

    def peek(self) -> str:
        return self.tokens[self.at][1]

    def take(self, text: str) -> bool:
        if self.tokens[self.at][1] == text and self.tokens[self.at][0] == "punct":
            self.at += 1
            return True
        return False

    def fields(self, message: Message, place: Place, close: str) -> None:
        """Fields up to the closing brace, or up to the end of the file where `close` is empty."""
        while True:
            kind, text, pos = self.tokens[self.at]
            if kind == "punct" and text == close:
                self.at += 1
                return
            if kind == "end":
                if close:
                    raise self.error(f"missing '{close}': {self._opened(place)} is not closed", pos)
                return
            if kind != "word":
                raise self.error(f"expected a field name, found '{text}'", pos)
            self.at += 1
            self.field(message, place, text, pos)
            while self.take(";") or self.take(","):
                pass

    def _opened(self, place: Place) -> str:
        return f"the message opened at line {place.loc.line}"

    def _unknown(self, message: Message, place: Place, name: str, pos: int) -> SpecError:
        """Where the message around knows the field, what is missing is most likely a brace."""
        said = f"{message.DESCRIPTOR.name} has no field '{name}'"
        if any(name in outer.DESCRIPTOR.fields_by_name for outer in self.outer):
            return self.error(f"{said}; is {self._opened(place)} not closed?", pos)
        return self.error(said + suggestion(name, message.DESCRIPTOR.fields_by_name), pos)

    def field(self, message: Message, place: Place, name: str, pos: int) -> None:
        descriptor = message.DESCRIPTOR.fields_by_name.get(name)
        if descriptor is None:
            raise self._unknown(message, place, name, pos)
        colon = self.take(":")
        if is_repeated(descriptor) and self.take("["):
            while not self.take("]"):
                self.value(message, place, descriptor, pos)
                if not self.take(",") and self.peek() != "]":
                    raise self.error(f"expected ',' or ']' in the list of '{name}'", self.tokens[self.at][2])
            return
        if not colon and descriptor.message_type is None:
            raise self.error(f"expected ':' after '{name}'", self.tokens[self.at][2])
        self.value(message, place, descriptor, pos)

    def value(self, message: Message, place: Place, descriptor: Field, pos: int) -> None:
        name = descriptor.name
        here = Place(self.loc(pos))
        if not is_repeated(descriptor) and name in place.fields:
            first = place.fields[name][0].loc.line
            raise self.error(f"field '{name}' is given twice (first at line {first}) but takes one value", pos)
        place.fields.setdefault(name, []).append(here)
        if descriptor.message_type is not None:
            self.submessage(message, descriptor, here)
            return
        start = self.tokens[self.at][2]
        try:
            value = self.scalar(descriptor)
            if is_repeated(descriptor):
                getattr(message, name).append(value)
            else:
                setattr(message, name, value)
        except (ValueError, TypeError) as e:
            raise self.error(f"field '{name}': {e}", start) from None

    def submessage(self, message: Message, descriptor: Field, here: Place) -> None:
        opening = self.tokens[self.at]
        if not (self.take("{") or self.take("<")):
            raise self.error(f"expected '{{' after '{descriptor.name}'", opening[2])
        sub = getattr(message, descriptor.name)
        sub = sub.add() if is_repeated(descriptor) else sub
        if not is_repeated(descriptor):
            sub.SetInParent()
        self.outer.append(message)
        self.fields(sub, here, "}" if opening[1] == "{" else ">")
        self.outer.pop()

    def scalar(self, descriptor: Field) -> Any:
        negative = self.take("-")
        kind, text, pos = self.tokens[self.at]
        cpp = descriptor.cpp_type
        if kind in ("punct", "end"):
            raise ValueError(f"expected a value, found '{text or 'the end of the file'}'")
        self.at += 1
        if negative and cpp in UNSIGNABLE:
            raise ValueError(f"'-' before {text}, which has no sign")
        if cpp == FD.CPPTYPE_STRING:
            return self.string(descriptor, kind, text)
        if cpp == FD.CPPTYPE_ENUM:
            return enum_value(descriptor, text, kind)
        if cpp == FD.CPPTYPE_BOOL:
            return bool_value(text)
        if cpp in INTEGERS:
            return int_value(text, negative, cpp)
        return float_value(text, negative)

    def string(self, descriptor: Field, kind: str, text: str) -> str | bytes:
        if kind != "string":
            raise ValueError(f"expected a quoted string, found '{text}'")
        data = unescape(text[1:-1])
        while self.tokens[self.at][0] == "string":
            data += unescape(self.peek()[1:-1])
            self.at += 1
        return data if descriptor.type == FD.TYPE_BYTES else data.decode("utf-8", "surrogateescape")


def is_repeated(descriptor: Field) -> bool:
    """`label` is gone from protobuf 7, `is_repeated` came with 6."""
    repeated = getattr(descriptor, "is_repeated", None)
    return descriptor.label == FD.LABEL_REPEATED if repeated is None else repeated


def enum_value(descriptor: Field, text: str, kind: str) -> int:
    """An enum value by name or number."""
    enum = descriptor.enum_type
    if kind == "word" and text in enum.values_by_name:
        return enum.values_by_name[text].number
    if kind == "number" and text.isdigit() and int(text) in enum.values_by_number:
        return int(text)
    known = list(enum.values_by_name)
    hint = suggestion(text.strip("\"'"), known) or (f" (known: {', '.join(known)})" if len(known) < 9 else "")
    raise ValueError(f"{enum.name} has no value {text}{hint}")


def bool_value(text: str) -> bool:
    """true, True, t, 1 and their opposites."""
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise ValueError(f"expected true or false, found {text}")


def int_value(text: str, negative: bool, cpp: int) -> int:
    """Decimal, 0x hexadecimal or 0 octal, within the field's range."""
    try:
        digits = text.lower()
        value = int(digits, 16 if digits.startswith("0x") else 8 if re.fullmatch(r"0\d+", digits) else 10)
    except ValueError:
        raise ValueError(f"expected an integer, found {text}") from None
    value = -value if negative else value
    bits = INTEGERS[cpp]
    low, high = (0, 2**bits - 1) if cpp in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= value <= high:
        raise ValueError(f"{value} is outside {low}..{high}")
    return value


def float_value(text: str, negative: bool) -> float:
    """A number, nan, inf or infinity; a trailing f is dropped."""
    word = text.lower()
    if word not in ("nan", "inf", "infinity"):
        word = word.rstrip("f") if not word.startswith("0x") else str(int(word, 16))
        if not re.match(r"[\d.]", word):
            raise ValueError(f"expected a number, found {text}")
    value = float(word)
    return -value if negative else value


def unescape(text: str) -> bytes:
    """C escapes: \\n, \\", \\x41, \\101, \\u00e9."""

    def one(m: re.Match[str]) -> bytes:
        code = m.group(1)
        if code[0] == "x":
            return bytes([int(code[1:], 16)])
        if code[0] in "uU":
            return character(int(code[1:], 16))
        if code[0] in "01234567":
            return bytes([int(code, 8) & 255])
        return bytes([ESCAPES[code]]) if code in ESCAPES else code.encode()

    out, pos = b"", 0
    for m in re.finditer(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", text):
        out += text[pos : m.start()].encode("utf-8", "surrogateescape") + one(m)
        pos = m.end()
    return out + text[pos:].encode("utf-8", "surrogateescape")


def character(code: int) -> bytes:
    """A Unicode code point in UTF-8; surrogates and numbers past the last one are none."""
    try:
        return chr(code).encode()
    except (ValueError, UnicodeEncodeError):
        raise ValueError(f"{code:#x} is no character's number") from None


def dump(message: Message, scalar: Callable[[Field, Any], str] | None = None) -> str:
    """The message as prototxt, two spaces a level, fields in the schema's order; `scalar` writes single values."""
    return "".join(_lines(message, "", scalar or scalar_text))


def _lines(message: Message, indent: str, scalar: Callable[[Field, Any], str]) -> Iterator[str]:
    for descriptor, value in message.ListFields():
        values = value if is_repeated(descriptor) else [value]
        for v in values:
            if descriptor.message_type is not None:
                yield f"{indent}{descriptor.name} {{\n"
                yield from _lines(v, indent + "  ", scalar)
                yield f"{indent}}}\n"
            else:
                yield f"{indent}{descriptor.name}: {scalar(descriptor, v)}\n"


def scalar_text(descriptor: Field, value: Any) -> str:
    """One value as written in prototxt; floats as short as they can be and still be the same float."""
    cpp = descriptor.cpp_type
    if cpp == FD.CPPTYPE_STRING:
        return quote(value)
    if cpp == FD.CPPTYPE_ENUM:
        return descriptor.enum_type.values_by_number[value].name
    if cpp == FD.CPPTYPE_BOOL:
        return "true" if value else "false"
    if cpp == FD.CPPTYPE_FLOAT:
        return float_text(value)
    return repr(value)


def float_text(value: float) -> str:
    """The shortest decimal that reads back as the same 32-bit float."""
    if math.isnan(value) or math.isinf(value):
        return str(value)
    for digits in range(6, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("f", float(text)) == struct.pack("f", value):
            break
    number = float(text)
    return text if "e" in text or number != int(number) else f"{number:.1f}"


def quote(value: str | bytes) -> str:
    """A double-quoted string with C escapes."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    known = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
    ascii_only = isinstance(value, bytes)
    out = []
    for c in data:
        printable = 32 <= c < 127 or (c >= 128 and not ascii_only)
        out.append(known[c].encode() if c in known else bytes([c]) if printable else f"\\{c:03o}".encode())
    return '"' + b"".join(out).decode("utf-8", "surrogateescape") + '"'
