"""Settings, shapes and counts in the words people read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Messages whose fields keep their name in front: others hold the same words.
KEEP = ("transform_param", "loss_param", "param")


def shown(text: object) -> str:
    """Text of a file, control characters made visible, so that no name can steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def dims(shape: Any) -> str:
    """A shape: 1x3x500x500; no axes is a single number."""
    return "x".join(map(str, shape)) if shape else "scalar"


def number(value: float) -> str:
    """A count for people: 138,357,544 -> 138.36 M."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            return f"{value / factor:.2f} {unit}"
    return str(value)


def counted(n: int, word: str) -> str:
    """1 bottom, 2 bottoms."""
    return f"{n} {word}{'' if n == 1 else 's'}"


def field_label(path: str) -> str:
    """`convolution_param.kernel_size` -> kernel_size."""
    head, _, rest = path.partition(".")
    return rest if rest and re.sub(r"\[\d+\]", "", head) not in KEEP else path


def value(v: Any) -> str:
    """A setting's value for people."""
    if v is None:
        return "unset"
    if isinstance(v, tuple):
        if v and all(isinstance(n, str) for n in v):
            return shown("; ".join(short(s) for s in v))
        sizes = v and all(type(n) is int for n in v)
        return "x".join(map(str, v)) if sizes else ", ".join(map(value, v)) or "unset"
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, float):
        return f"{v:g}" if float(f"{v:g}") == v else str(v)
    return shown(f"'{v}'" if isinstance(v, str) and not v.isupper() else v)


def short(rule: str) -> str:
    """`dim: 1 dim: 3` -> 1x3; anything else as it is."""
    found = re.findall(r"dim: (\d+)", rule)
    return "x".join(found) if found and not re.sub(r"dim: \d+", "", rule).strip() else rule


def settings(fields: Mapping[str, Any]) -> list[str]:
    """What a layer is set to, in a few words, from its canonical fields."""
    frozen = [v for k, v in fields.items() if k.endswith(".lr_mult")]
    parts = [f"{field_label(k)} {value(v)}" for k, v in fields.items() if not k.startswith("param[")]
    if frozen and not any(frozen):
        parts.append("lr_mult 0")
    return parts + [f"{k} {value(v)}" for k, v in fields.items() if k.startswith("param[") and k.endswith(".name")]
