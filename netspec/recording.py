"""Passes recorded as CUDA graphs: a pass of a few hundred kernels is launched as one.

1. A pass is recorded for one key (the shapes of its inputs and what is asked of it) when the key comes the third time:
   recording costs memory and some passes' time, which sizes that hardly come again do not pay back.
2. A replay copies the inputs to where the recorded kernels read them; the outputs lie where they write them, and the
   next replay writes there again.
3. The passes used last are kept, up to a limit; they share one pool of memory.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.layers.base import Layer
from netspec.passes.bind import Bound

logger = logging.getLogger(__name__)

LIMIT = 8
SIGHTS = 3
KEYS = 10_000
"""Keys counted before counting starts anew."""

Pass = Callable[[list[Tensor]], Any]


class Recorded:
    """One pass as a CUDA graph. `held` is what its kernels read besides inputs and parameters.

    Nothing runs while it is recorded; what has to be warm for that, earlier passes of the same key have warmed.
    """

    def __init__(self, run: Pass, inputs: Sequence[Tensor], pool: Any, held: Any) -> None:
        self.inputs = [x.clone() for x in inputs]
        self.held = held
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.outputs = run(self.inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs


class Recorder:
    """Finds or makes the recording of a pass. `held()` gives what recordings must keep alive."""

    def __init__(self, held: Callable[[], Any] = lambda: None) -> None:
        self.held = held
        self.kept: OrderedDict[Hashable, Recorded] = OrderedDict()
        self.seen: Counter[Hashable] = Counter()
        self.pool: Any = None
        self.works = True

    def find(self, key: Hashable, run: Pass, inputs: Sequence[Tensor]) -> Recorded | None:
        """The recording for this key, made now if it is worth it; None where the pass has to run as it is."""
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        if len(self.seen) > KEYS:
            self.seen.clear()
        self.seen[key] += 1
        return self._record(key, run, inputs) if self.works and self.seen[key] >= SIGHTS else None

    def _record(self, key: Hashable, run: Pass, inputs: Sequence[Tensor]) -> Recorded | None:
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        try:
            made = Recorded(run, inputs, self.pool, self.held())
        except RuntimeError as e:
            self.works = False
            logger.debug("passes are not recorded: %s", str(e).partition("\n")[0])
            return None
        self.kept[key] = made
        if len(self.kept) > LIMIT:
            self.kept.popitem(last=False)
        return made


def recordable(bound: Bound) -> bool:
    """Whether a pass is the same work each time: no layer keeps something for the next one, or acts outside the net."""
    return all(
        layer.is_data or (keeps_nothing(layer) and (spec.tops or spec.type == "Silence")) for spec, layer in bound
    )


def keeps_nothing(layer: Layer) -> bool:
    return type(layer).memory is Layer.memory and layer.type != "Python"


def signature(inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """Shapes and number types."""
    return tuple((tuple(x.shape), x.dtype) for x in inputs)
