"""Python source: names that Python takes, and lines as ruff's formatter lays them out (88 columns)."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Collection, Sequence

WIDTH = 88
INDENT = "    "


def identifier(name: str, taken: Callable[[str], bool] = lambda n: False, prefix: str = "n") -> str:
    """A name with underscores for what Python does not take; one that starts with a digit gets the prefix."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or prefix
    text = f"{prefix}_{text}" if text[0].isdigit() else text
    while keyword.iskeyword(text) or hasattr(builtins, text) or taken(text):
        found = re.fullmatch(r"(.*)_(\d)", text)
        text = (
            f"{found[1]}_{int(found[2]) + 1}" if found and taken(text) else f"{text}_2" if taken(text) else f"{text}_"
        )
    return text


TAKEN = ("F", "Path", "Tensor", *keyword.kwlist)
"""What stands for something else in a module's source."""


def class_name(name: str, default: str = "Net") -> str:
    """`voc-fcn8s` -> VocFcn8s; words that have capitals keep them; `f` -> NetF, for F is taken."""
    words = [w for w in re.split(r"[\W_]+", name, flags=re.ASCII) if w]
    text = "".join(w[0].upper() + w[1:] for w in words)
    return default + text if not text or text[0].isdigit() or text in TAKEN else text


def top_level(text: str, separators: str = ",") -> list[int]:
    """Where separators stand outside of all brackets and strings."""
    depth, quote, found = 0, "", []
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c in separators and not depth:
            found.append(i)
    return found


def arguments(text: str) -> list[str]:
    """What stands between commas outside of brackets."""
    cuts = [-1, *top_level(text), len(text)]
    return [text[a + 1 : b].strip() for a, b in zip(cuts, cuts[1:], strict=False) if text[a + 1 : b].strip()]


def last_bracket(text: str) -> tuple[int, int] | None:
    """The last pair of brackets at the end of a text, if it holds anything."""
    if not text or text[-1] not in ")]":
        return None
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += {")": 1, "]": 1, "}": 1, "(": -1, "[": -1, "{": -1}.get(text[i], 0)
        if not depth:
            return (i, len(text) - 1) if i < len(text) - 2 else None
    return None


def laid_out(text: str, indent: int = 0, ending: str = "") -> list[str]:
    """A statement or an element as lines: one if it fits, else its last brackets opened, each argument on a line
    if they do not fit on one."""
    pad = INDENT * indent
    if len(pad) + len(text) + len(ending) <= WIDTH:
        return [pad + text + ending]
    pair = last_bracket(text)
    if pair is None:
        return wrapped(text, indent, ending)
    head, inside = text[: pair[0] + 1], text[pair[0] + 1 : pair[1]]
    parts = arguments(inside)
    if len(pad) + len(INDENT) + len(inside) <= WIDTH and not head.endswith("def forward("):
        return [pad + head, pad + INDENT + inside, pad + text[pair[1] :] + ending]
    if len(parts) == 1:
        body = laid_out(parts[0], indent + 1)
    else:
        body = [line for part in parts for line in laid_out(part, indent + 1, ",")]
    return [pad + head, *body, pad + text[pair[1] :] + ending]


def wrapped(text: str, indent: int, ending: str) -> list[str]:
    """A statement whose value is a long sum or product, in parentheses, on a line of its own or an operand a line."""
    found = re.match(r"(return|[\w.]+ =) ", text)
    start, value = (found[1], text[found.end() :]) if found else ("", text)
    cuts: list[int] = []
    for operators in ("+-", "*/"):
        cuts = cuts or [i for i in top_level(value, operators) if value[i - 1] == " " and value[i + 1] == " "]
    pieces = [value[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(value)], strict=True)]
    pad = INDENT * indent
    if len(pad) + len(INDENT) + len(value) <= WIDTH:
        pieces = [value]
    return [f"{pad}{start} (".replace(f"{pad} (", f"{pad}("), *(f"{pad}{INDENT}{p}" for p in pieces), f"{pad}){ending}"]


def docstring(lines: Sequence[str], indent: int = 0) -> list[str]:
    """A docstring of one line, or of several with the quotes on a line of their own.

    Names come from files: what could end the docstring is changed, so that no file writes code.
    """
    pad = INDENT * indent
    printable = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    clean = [line.replace("\\", "/").replace('"', "'") for line in printable]
    if len(clean) == 1:
        return [f'{pad}"""{clean[0]}"""']
    return [f'{pad}"""{clean[0]}', *(pad + line if line else "" for line in clean[1:]), f'{pad}"""']


def unused(name: str, taken: Collection[str]) -> str:
    """The name, with the least number behind it that makes it new."""
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free
