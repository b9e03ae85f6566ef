"""flow: many pictures through a net: read before it and written behind it in threads, those of one size run together.

1. Pictures are read ahead, up to as many pixels as a window holds and at least one picture.
2. A window is a run of pictures that ends at so many pixels. In it, those of one shape go through the net together, up
   to `most` pixels at once. A batch that the net refuses is run picture by picture.
3. A window is written while the next one runs, and has to be done before the one after that.
4. Results come in the order of the pictures. One that fails gives its error in its place; the others go on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from netspec.errors import SpecError

LONGEST = 256
"""Most pictures in a window or ahead of it, however small they are."""

Job = TypeVar("Job")
Done = TypeVar("Done")
One = TypeVar("One")


@dataclass(frozen=True)
class Work(Generic[Job, Done]):
    """What is done with each job. `load` and `finish` run in threads, `run` in the caller's; all may raise SpecError.

    `pixels`: how many a job has, known before it is loaded. `load`: job -> (what `finish` needs, 1 x C x H x W).
    `run`: N x C x H x W -> N results. `finish`: job, what it needs, its result -> what the flow gives.
    """

    pixels: Callable[[Job], int]
    load: Callable[[Job], tuple[Any, np.ndarray]]
    run: Callable[[np.ndarray], Sequence[Any]]
    finish: Callable[[Job, Any, Any], Done]


@dataclass
class Item(Generic[Job]):
    """A job on its way."""

    job: Job
    kept: Any = None
    data: np.ndarray | None = None
    result: Any = None
    fault: SpecError | None = None


def flow(jobs: Iterable[Job], work: Work[Job, Done], window: int, most: int) -> Iterator[Done | SpecError]:
    """What `finish` makes of each job, or its error, in order. `window` and `most` are pixels."""
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="netspec-flow")
    leaving: deque[Future[Done | SpecError]] = deque()
    try:
        for items in windows(ahead(pool, jobs, work, window), area, window):
            run_window(items, work.run, most)
            leaving.extend(pool.submit(finished, item, work) for item in items)
            while leaving and (leaving[0].done() or len(leaving) > len(items)):
                yield leaving.popleft().result()
        while leaving:
            yield leaving.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(pool: ThreadPoolExecutor, jobs: Iterable[Job], work: Work[Job, Done], budget: int) -> Iterator[Item[Job]]:
    """Rule 1."""
    pending: deque[tuple[Future[Item[Job]], int]] = deque()
    held = 0
    for job in jobs:
        pixels = work.pixels(job)
        while pending and (held + pixels > budget or len(pending) >= LONGEST):
            future, freed = pending.popleft()
            held -= freed
            yield future.result()
        pending.append((pool.submit(loaded, job, work), pixels))
        held += pixels
    while pending:
        yield pending.popleft()[0].result()


def windows(items: Iterable[One], area: Callable[[One], int], budget: int) -> Iterator[list[One]]:
    """Items in order, as many together as begin within the budget, at most LONGEST."""
    window: list[One] = []
    held = 0
    for item in items:
        window.append(item)
        held += area(item)
        if held >= budget or len(window) >= LONGEST:
            yield window
            window, held = [], 0
    if window:
        yield window


def alike(
    items: Iterable[One], shape: Callable[[One], Hashable], area: Callable[[One], int], most: int
) -> Iterator[list[One]]:
    """Items of one shape together, up to `most` pixels at once and at least one item."""
    groups: dict[Hashable, list[One]] = {}
    for item in items:
        groups.setdefault(shape(item), []).append(item)
    for group in groups.values():
        size = max(1, most // max(1, area(group[0])))
        yield from (group[at : at + size] for at in range(0, len(group), size))


def area(item: Item[Any]) -> int:
    """Pixels that go into the net."""
    return 0 if item.data is None else item.data.shape[2] * item.data.shape[3]


def loaded(job: Job, work: Work[Job, Any]) -> Item[Job]:
    try:
        return Item(job, *work.load(job))
    except SpecError as e:
        return Item(job, fault=e)


def finished(item: Item[Job], work: Work[Job, Done]) -> Done | SpecError:
    if item.fault:
        return item.fault
    try:
        return work.finish(item.job, item.kept, item.result)
    except SpecError as e:
        return e


def run_window(window: Sequence[Item[Any]], run: Callable[[np.ndarray], Sequence[Any]], most: int) -> None:
    """Gives every item of a window its result."""
    read = [item for item in window if item.data is not None]
    for batch in alike(read, lambda item: item.data.shape, area, most):  # type: ignore[union-attr]
        run_batch(batch, run)


def run_batch(batch: Sequence[Item[Any]], run: Callable[[np.ndarray], Sequence[Any]]) -> None:
    """Runs items of one shape together, or one by one where the net refuses them together."""
    try:
        results = run(np.concatenate([item.data for item in batch if item.data is not None]))
    except SpecError as e:
        if len(batch) == 1:
            fault = SpecError(f"the net refuses {batch[0].job}: {e.message}", e.loc, e.excerpt)
            batch[0].fault, batch[0].data = fault, None
            return
        for item in batch:
            run_batch([item], run)
        return
    for item, result in zip(batch, results, strict=True):
        item.result, item.data = result, None
