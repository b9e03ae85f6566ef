"""Batches of items: drawn one after another from an order, loaded and stacked in background threads.

Item k of the whole order, whichever worker takes it, has the key "SEED k"; what is random about the item depends on
its key alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netspec.data.datum import text
from netspec.data.order import Sequential, Shuffled
from netspec.data.stream import Stream
from netspec.errors import SpecError

INT_MAX = 2**31 - 1  # most values of a blob
MOST_WORKERS = 4
Job = list[tuple[Any, str]]


class Item(NamedTuple):
    """One loaded item; `where` names it in errors."""

    data: np.ndarray
    label: float
    where: str


class Batches:
    """An order of batches: `next()` gives `size` pairs of `pick(index)` and key."""

    def __init__(
        self, order: Sequential | Shuffled, size: int, seed: int, pick: Callable[[int], Any] = lambda index: index
    ) -> None:
        self.order, self.size, self.seed, self.pick = order, size, seed, pick

    def next(self) -> Job:
        return [self._one() for _ in range(self.size)]

    def _one(self) -> tuple[Any, str]:
        key = f"{self.seed} {self.order.taken + self.order.rank}"
        return self.pick(self.order.next()), key

    def state(self) -> dict[str, Any]:
        return {"items": self.order.state(), "seed": self.seed}

    def restore(self, state: dict[str, Any]) -> None:
        items, seed = state.get("items"), state.get("seed")
        if not isinstance(items, dict) or type(seed) is not int:
            raise SpecError(f"the saved position of the data is none: {str(state)[:80]}")
        self.order.restore(items)
        self.seed = seed


def in_order(
    n: int, seed: int, *, shuffle: bool = False, skip: int = 0, rank: int = 0, world: int = 1
) -> Sequential | Shuffled:
    """Items in turn, or in a new random order every pass, starting at `skip`."""
    order = Shuffled(n, seed, rank=rank, world=world) if shuffle else Sequential(n, rank=rank, world=world)
    order.taken = skip
    return order


def open_stream(batches: Batches, load: Callable[[Job], list[np.ndarray]], ahead: int) -> Stream:
    """`load` makes the arrays of a batch; up to `ahead` batches are made before they are asked for."""
    ahead = max(1, ahead)
    return Stream(batches, load, ahead, min(ahead, MOST_WORKERS, os.cpu_count() or 1))


def open_items(batches: Batches, load: Callable[[Any, str], Item], tops: int, ahead: int) -> Stream:
    """A stream of data and, with two tops, labels; the first item is loaded to see that a batch can be held."""
    first = load(batches.pick(0), "0")
    check_count((batches.size, *first.data.shape))
    return open_stream(batches, partial(load_batch, load, tops), ahead)


def check_count(shape: Sequence[int]) -> None:
    """Refuses more values than a blob may have, before anything is allocated."""
    if prod(shape) > INT_MAX:
        raise SpecError(
            f"a batch of {text(tuple(shape))} has more than {INT_MAX} values; a smaller batch_size is wanted"
        )


def load_batch(load: Callable[[Any, str], Item], tops: int, job: Job) -> list[np.ndarray]:
    """The items of a job stacked: data N x ..., labels N."""
    first = load(*job[0])
    data = np.empty((len(job), *first.data.shape), np.float32)
    label = np.empty(len(job), np.float32)
    for n, (item, key) in enumerate(job):
        one = load(item, key) if n else first
        if one.data.shape != first.data.shape:
            raise SpecError(
                f"{one.where} is {text(one.data.shape)}, but its batch began with {first.where} of "
                f"{text(first.data.shape)}; crop_size, resizing or batch_size 1 makes them alike"
            )
        data[n], label[n] = one.data, one.label
    return [data, label][:tops]
