"""Several processes as one solver: torch.distributed where it is initialised, a single process otherwise.

Gradients are summed over ranks, then divided by iter_size times ranks: N ranks with iter_size k follow one process
with iter_size N k on the same images. Rank 0 writes files. Statistics such as BatchNorm's are each rank's own, and
rank 0's are the ones that are saved.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from netspec.errors import SpecError
from netspec.solver.log import logger

BUCKET = 1 << 25
"""Values sent at once."""


@contextmanager
def joined(device: str | torch.device, environment: Mapping[str, str] = os.environ) -> Iterator[torch.device]:
    """Joins the peers that torchrun started, if it did; the device of this process: on GPUs, one each.

    Without torchrun, the device as given. NCCL connects GPUs, gloo CPUs.
    """
    device = torch.device(device)
    if "WORLD_SIZE" not in environment or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        local = int(environment.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise SpecError(
                f"process {local} of this machine has no GPU of its own: {torch.cuda.device_count()} are here"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextmanager
def peers() -> Iterator[None]:
    """Around what all ranks do together: what fails there is another rank's end.

    It is logged at once, since the launcher's signal to end comes next.
    """
    try:
        yield
    except RuntimeError as e:
        cause = re.sub(r"^\[[^]]*\] ", "", str(e)).partition(". ")[0].partition("\n")[0] or type(e).__name__
        logger.error(
            "another process of this run has ended or cannot be reached (%s): what it said tells why; "
            "the last snapshot goes on (--resume latest)",
            cause,
        )
        raise SpecError("stopped, since another process of this run has ended") from e


class Ranks:
    """This process among its peers."""

    def __init__(self, device: torch.device) -> None:
        self.on = dist.is_available() and dist.is_initialized()
        self.rank: int = dist.get_rank() if self.on else 0
        self.world: int = dist.get_world_size() if self.on else 1
        self.device = device

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over ranks."""
        bucket: list[Tensor] = []
        for tensor in tensors if self.world > 1 else ():
            bucket.append(tensor)
            if sum(t.numel() for t in bucket) >= BUCKET:
                self._add(bucket)
                bucket = []
        if bucket:
            self._add(bucket)

    @staticmethod
    def _add(bucket: list[Tensor]) -> None:
        flat = torch.cat([t.reshape(-1) for t in bucket])
        with peers():
            dist.all_reduce(flat)
        for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def sums(self, values: Sequence[float]) -> list[float]:
        """Numbers summed over ranks."""
        if self.world == 1:
            return list(values)
        sent = torch.tensor(values, dtype=torch.float64, device=self.device)
        with peers():
            dist.all_reduce(sent)
        return sent.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in the order of ranks."""
        if self.world == 1:
            return [value]
        out: list[Any] = [None] * self.world
        with peers():
            dist.all_gather_object(out, value)
        return out

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Gives every rank the values of rank 0."""
        for tensor in tensors if self.world > 1 else ():
            with peers():
                dist.broadcast(tensor, 0)

    def share(self, n: int) -> Iterator[int | None]:
        """The numbers below n that are this rank's: its rank, then every world-th.

        Every rank takes equally many turns, so that all stay at one place of the data; a surplus one gives None.
        """
        for turn in range(ceil(n / self.world)):
            number = turn * self.world + self.rank
            yield number if number < n else None

    def context(self) -> dict[str, Any]:
        """What a net's Context says of the ranks: each reads its own part of one order of the data."""
        return {"rank": self.rank, "world": self.world, "seed": self.seed()}

    def seed(self) -> int | None:
        """One seed from the clock for all ranks; None for a single process, which needs none."""
        return self.gather(time.time_ns() % 2**31)[0] if self.world > 1 else None
