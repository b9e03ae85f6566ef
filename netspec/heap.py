"""Memory that a pass has freed serves the next pass.

A net asks for the same large feature maps in every pass. The C library gives such blocks back to the system when they
are freed, and the system clears every page again when they are next asked for: a fifth of the time of a pass.

1. Smaller blocks come from the heap, which keeps up to 1 GiB of what is freed (glibc only): those below 32 MiB, and in
   a process that freezes a net, which holds few at a time, those below 128 MiB.
2. Larger ones come in pages of 2 MiB where Linux has them, which it clears faster. PyTorch reads that wish when it
   makes its first tensor.

What the environment says already (MALLOC_*, GLIBC_TUNABLES, THP_MEM_ALLOC_ENABLE) stays as it is.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRAINING, FROZEN, KEPT = 2**25, 2**27, 2**30


def prepare(below: int = TRAINING) -> None:
    """Sets both for this process; `below` is the size in bytes that the heap serves no more."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    told = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if sys.platform != "linux" or told:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, below)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def let_go(address: int, size: int) -> None:
    """Gives the whole pages of a block back to the system (Linux only): what was there reads as zeros from then on."""
    start, end = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE, (address + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if sys.platform == "linux" and start < end:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def trim(*_: object) -> None:
    """Gives what the heap keeps back to the system (glibc only), before something large is asked for."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if give_back is not None:
        give_back(0)
