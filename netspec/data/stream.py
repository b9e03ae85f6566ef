"""item(k) = load(draw(k)): decoded ahead in background threads, handed out in the order of the draws."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from netspec.data.order import Order


class Stream:
    """Items of `load(job)`, the jobs taken from `draw.next()`, up to `ahead` of them decoded before they are asked for.

    `load` runs in `workers` threads and must be pure. What it raises is raised again by the `next()` or
    `peek_shapes()` of the item it belongs to; `next()` then goes on behind that item. The state is the order's state
    after the last item handed out, whatever has been decoded ahead. The threads know nothing of the stream: they end
    when it is closed or no longer referred to.
    """

    def __init__(self, draw: Order, load: Callable[[Any], list[np.ndarray]], ahead: int = 4, workers: int = 2) -> None:
        if ahead < 1 or workers < 1:
            raise ValueError(f"ahead {ahead} and workers {workers} must be at least 1")
        self._draw, self._load, self._ahead = draw, load, ahead
        self._pending: deque[tuple[Future[list[np.ndarray]], Any, dict[str, Any]]] = deque()
        self._state = draw.state()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="netspec-data")
        self._finalizer = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        self.last: Any = None  # the job of the last item handed out

    def next(self) -> list[np.ndarray]:
        """The next item; waits until it is decoded."""
        self._fill()
        future, self.last, self._state = self._pending.popleft()
        self._fill()
        return future.result()

    def peek_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the next item's arrays, which stays the next."""
        self._fill()
        return [array.shape for array in self._pending[0][0].result()]

    def state(self) -> dict[str, Any]:
        return dict(self._state)

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on as after the item that `state` was taken behind; what was decoded ahead is dropped."""
        self._draw.restore(state)
        self._drop()
        self._state = self._draw.state()

    def close(self) -> None:
        """Ends the threads; a closed stream gives no more items."""
        self._drop()
        self._finalizer()

    def _fill(self) -> None:
        while len(self._pending) < self._ahead:
            job = self._draw.next()
            self._pending.append((self._pool.submit(self._load, job), job, self._draw.state()))

    def _drop(self) -> None:
        while self._pending:
            self._pending.popleft()[0].cancel()
