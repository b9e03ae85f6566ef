"""What a Python layer of the user's own carries from pass to pass: its attributes, as JSON.

1. Numbers, strings, None, arrays, random generators, and lists, tuples and dicts of them are kept.
2. Of another object, its own attributes are kept in the same way, once wherever it occurs; not of classes, modules,
   functions, messages, and objects of this package.
3. An attribute of more than MOST values is left out: that is a data set, not a place in it.
4. Restoring sets attributes that are there; it makes no object and runs no code.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST = 1 << 20


class Left(Exception):
    """A value that is not kept."""


def kept(owner: Any, seen: dict[int, Any] | None = None) -> dict[str, Any]:
    """An object's attributes, by name, without those that cannot be kept. `seen`: the objects met on the way, by id."""
    seen, out = {id(owner): owner} if seen is None else seen, {}
    for name, value in list(vars(owner).items()):
        try:
            out[name] = as_json(value, seen)
        except Left:
            continue
    return out


def as_json(value: Any, seen: dict[int, Any]) -> Any:
    """A value as JSON: itself, or {kind: contents}. Raises Left."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if id(value) in seen or (value.size if isinstance(value, np.ndarray) else length(value)) > MOST:
        raise Left
    seen[id(value)] = value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": [str(value.dtype), value.shape, value.ravel().tolist()]}
    if isinstance(value, random.Random):
        return {"random": value.getstate()}
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state()
        return {"RandomState": [kind, np.asarray(keys).tolist(), *rest]}
    if isinstance(value, np.random.Generator):
        return {"Generator": as_json(value.bit_generator.state, seen)}
    if type(value) in (list, tuple):
        return {type(value).__name__: [as_json(v, seen) for v in value]}
    if type(value) is dict:
        return {"dict": [[as_json(k, seen), as_json(v, seen)] for k, v in value.items()]}
    if is_plain_object(value):
        return {"object": kept(value, seen)}
    raise Left


def length(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, dict)) else 0


def is_plain_object(value: Any) -> bool:
    """Whether a value is an object of the user's with attributes of its own."""
    if inspect.isclass(value) or inspect.ismodule(value) or inspect.isroutine(value):
        return False
    module = type(value).__module__ or "google"  # classes of messages have none
    return hasattr(value, "__dict__") and module.partition(".")[0] not in ("netspec", "google")


def restore(owner: Any, known: Mapping[str, Any]) -> None:
    """The reverse of `kept`, into an object of the same make. ValueError, TypeError, KeyError for what is none."""
    for name, value in known.items():
        if name in vars(owner):
            setattr(owner, name, as_value(value, vars(owner)[name]))


def as_value(stored: Any, now: Any) -> Any:
    """The value that was stored; generators and objects are changed in place."""
    if not isinstance(stored, dict):
        return stored
    ((kind, inner),) = stored.items()
    if kind == "array":
        return np.array(inner[2], np.dtype(inner[0])).reshape(inner[1])
    if kind in ("list", "tuple"):
        values = [as_value(v, None) for v in inner]
        return values if kind == "list" else tuple(values)
    if kind == "dict":
        return {as_value(k, None): as_value(v, None) for k, v in inner}
    return changed(kind, inner, now)


def changed(kind: str, inner: Any, now: Any) -> Any:
    """A generator or another object with its state put back; left as it is where now there is another kind."""
    if kind == "random" and isinstance(now, random.Random):
        now.setstate((inner[0], tuple(inner[1]), inner[2]))
    elif kind == "RandomState" and isinstance(now, np.random.RandomState):
        now.set_state((inner[0], np.array(inner[1], np.uint32), *inner[2:]))
    elif kind == "Generator" and isinstance(now, np.random.Generator):
        now.bit_generator.state = as_value(inner, None)
    elif kind == "object" and hasattr(now, "__dict__"):
        restore(now, inner)
    return now
