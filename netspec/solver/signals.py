"""Signals to a run: SIGINT and SIGTERM end it after the iteration, SIGHUP asks for a snapshot.

A second SIGINT or SIGTERM ends it at once; within a second of the first it counts as the same, since launchers and
terminals both pass one on.
"""

from __future__ import annotations

import signal
import time
from typing import Any

STOP = ("SIGINT", "SIGTERM")
SNAPSHOT = ("SIGHUP",)
AGAIN = 1.0
"""Seconds after which another signal to stop is a second one."""


class Signals:
    """As a context: what the signals asked for; the handlers before are put back at the end."""

    def __init__(self) -> None:
        self.stop = False
        self.snapshot = False
        self._since = 0.0
        self._before: dict[int, Any] = {}

    @property
    def on(self) -> bool:
        """Whether signals are caught now."""
        return bool(self._before)

    def __enter__(self) -> Signals:
        self.stop = self.snapshot = False
        for names, handler in ((STOP, self._stop), (SNAPSHOT, self._snapshot)):
            for name in names:
                if hasattr(signal, name):
                    number = getattr(signal, name)
                    self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _stop(self, number: int, frame: Any) -> None:
        if self.stop and time.monotonic() - self._since > AGAIN:
            raise KeyboardInterrupt
        if not self.stop:
            self.stop, self._since = True, time.monotonic()

    def _snapshot(self, number: int, frame: Any) -> None:
        self.snapshot = True
