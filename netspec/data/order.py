"""Orders: which item of a data set comes next, `next() -> int` forever, resumable and split over workers.

An order is one endless sequence i(0), i(1), ... of item numbers in 0..n-1. Worker `rank` of `world` takes i(rank),
i(rank + world), ..., so that all workers together walk the one sequence once. The state counts what all of them have
taken; it is the same for every worker and fits another number of workers.
"""

from __future__ import annotations

import random
import time
from typing import Any, Protocol

from netspec.errors import SpecError

MOST_TAKEN = 10**9  # a resumed random order is drawn anew up to its place: a false count must not hang us


class Order(Protocol):
    """What a stream asks of an order."""

    def next(self) -> Any: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class _Walk:
    """The common part: a cursor over i(k), k = taken + rank, taken growing by `world`."""

    def __init__(self, n: int, rank: int, world: int) -> None:
        if n < 1:
            raise SpecError(f"no items to draw from: the number is {n}, it must be at least 1")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not in 0..{world - 1}")
        self.n, self.rank, self.world, self.taken = n, rank, world, 0

    def _at(self, k: int) -> int:
        raise NotImplementedError

    def next(self) -> int:
        index = self._at(self.taken + self.rank)
        self.taken += self.world
        return index

    def state(self) -> dict[str, Any]:
        return {"order": type(self).__name__, "n": self.n, "taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        for key, now in (("order", type(self).__name__), ("n", self.n)):
            if state.get(key) != now:
                raise SpecError(f"the saved data order has {key} {state.get(key)!r}, the net's data has {now!r}")
        self.taken = _count(state.get("taken"))


class Sequential(_Walk):
    """i(k) = (start + k) mod n."""

    def __init__(self, n: int, start: int = 0, *, rank: int = 0, world: int = 1) -> None:
        super().__init__(n, rank, world)
        self.start = start

    def _at(self, k: int) -> int:
        return (self.start + k) % self.n


class _Seeded(_Walk):
    """A walk that a seed decides; None takes one from the clock, and the state keeps it."""

    def __init__(self, n: int, seed: int | None = None, *, rank: int = 0, world: int = 1) -> None:
        super().__init__(n, rank, world)
        self._start(time.time_ns() if seed is None else seed)

    def _start(self, seed: int) -> None:
        self.seed = seed

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed}

    def restore(self, state: dict[str, Any]) -> None:
        seed = state.get("seed")
        if type(seed) is not int:
            raise SpecError(f"the saved data order has seed {seed!r}, an integer is wanted")
        super().restore(state)
        self._start(seed)


class RandomDraw(_Seeded):
    """i(k) = int(u(k) n), u the doubles of Python 2's generator with that seed: draws with replacement.

    Python 3's `Random(seed).random()` gives the same doubles. Source: the data layers of the released FCN nets.
    """

    def _start(self, seed: int) -> None:
        self.seed, self._random, self._drawn = seed, random.Random(abs(seed)), 0

    def _at(self, k: int) -> int:
        while self._drawn < k:
            self._random.random()
            self._drawn += 1
        self._drawn += 1
        return int(self._random.random() * self.n)


class Shuffled(_Seeded):
    """i(k) = p(k mod n), p a permutation of its own for every pass k div n, drawn from (seed, pass)."""

    def _start(self, seed: int) -> None:
        self.seed, self._pass, self._permutation = seed, -1, []

    def _at(self, k: int) -> int:
        number, place = divmod(k, self.n)
        if number != self._pass:
            draw = random.Random(f"{self.seed} {number}")
            keys = [draw.random() for _ in range(self.n)]
            self._pass, self._permutation = number, sorted(range(self.n), key=keys.__getitem__)
        return self._permutation[place]


def _count(taken: Any) -> int:
    if type(taken) is not int or not 0 <= taken <= MOST_TAKEN:
        raise SpecError(f"the saved data order has taken {taken!r}, an integer in 0..{MOST_TAKEN} is wanted")
    return taken
