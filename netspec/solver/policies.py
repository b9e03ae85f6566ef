"""The learning rate of an iteration, a pure function of the solver's fields and the iteration's number.

With r = base_lr, i = the number of iterations completed:

    fixed      r
    step       r * gamma ^ floor(i / stepsize)
    exp        r * gamma ^ i
    inv        r * (1 + gamma * i) ^ -power
    multistep  r * gamma ^ (stepvalues passed)
    poly       r * (1 - i / max_iter) ^ power, 0 from max_iter on
    sigmoid    r / (1 + exp(-gamma * (i - stepsize)))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from netspec.errors import SpecError, suggestion


def rate(param: Any, iteration: int) -> float:
    """The rate of the update that follows `iteration` completed ones, before lr_mult."""
    return param.base_lr * POLICIES[param.lr_policy](param, iteration)


def current_step(param: Any, iteration: int) -> int:
    """How often `step` or `multistep` has lowered the rate by the update of that iteration; 0 for other policies."""
    if param.lr_policy == "step":
        return max(iteration, 0) // param.stepsize
    if param.lr_policy == "multistep":
        return passed(param.stepvalue, iteration)
    return 0


def passed(stepvalues: Sequence[int], iteration: int) -> int:
    """How many stepvalues lie at or before the iteration, taken in order, at most one more per iteration."""
    earliest = 0
    for count, value in enumerate(stepvalues):
        earliest = max(value, earliest)
        if iteration < earliest:
            return count
        earliest += 1
    return len(stepvalues)


def _poly(param: Any, iteration: int) -> float:
    return max(0.0, 1 - iteration / param.max_iter) ** param.power


def _sigmoid(param: Any, iteration: int) -> float:
    x = param.gamma * (iteration - param.stepsize)
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


POLICIES: dict[str, Callable[[Any, int], float]] = {
    "fixed": lambda param, iteration: 1.0,
    "step": lambda param, iteration: param.gamma ** current_step(param, iteration),
    "exp": lambda param, iteration: param.gamma**iteration,
    "inv": lambda param, iteration: (1 + param.gamma * iteration) ** -param.power,
    "multistep": lambda param, iteration: param.gamma ** current_step(param, iteration),
    "poly": _poly,
    "sigmoid": _sigmoid,
}
FIELDS = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
"""The fields each policy reads."""


def idle(param: Any) -> list[str]:
    """Fields that are given, but that the policy does not read."""
    given = {field for fields in FIELDS.values() for field in fields if field != "max_iter" and is_given(param, field)}
    return sorted(given.difference(FIELDS[param.lr_policy]))


def is_given(param: Any, field: str) -> bool:
    """Whether a field is there, once or several times."""
    return any(known.name == field for known, _ in param.ListFields())


def check(document: Any) -> None:
    """SpecError, with its place, for a policy that is unknown or whose fields make no rate."""
    param, place = document.message, document.place
    if not param.HasField("lr_policy"):
        raise SpecError(f"lr_policy is missing (known: {', '.join(POLICIES)})", place.loc)
    policy = param.lr_policy
    if policy not in POLICIES:
        hint = suggestion(policy, POLICIES) or f" (known: {', '.join(POLICIES)})"
        raise SpecError(f"lr_policy '{policy}' is unknown{hint}", place.of("lr_policy"))
    for field in ("stepsize", "max_iter"):
        least = 0 if policy == "sigmoid" else 1
        if field in FIELDS[policy] and getattr(param, field) < least:
            raise SpecError(f"lr_policy '{policy}' needs {field} of at least {least}", place.of(field))
    if policy == "multistep" and list(param.stepvalue) != sorted(param.stepvalue):
        raise SpecError(f"stepvalue {list(param.stepvalue)} must rise", place.of("stepvalue"))
