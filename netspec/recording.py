"""Passes recorded as CUDA graphs: a pass of a few hundred kernels is launched as one.

1. A pass is recorded for one key (what is asked, and the shapes of its inputs) when the key comes the third time:
   recording costs memory and some passes' time, which sizes that hardly come again do not pay back.
2. A recording counts only if its first replay gives what the pass itself gives; otherwise nothing is recorded any more.
3. A replay copies the inputs to where the recorded kernels read them, and the outputs from where they write them.
4. The passes used last are kept, up to a limit; they share one pool of memory.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.ir.graph import Blob
from netspec.layers.base import Layer
from netspec.passes.bind import Bound

logger = logging.getLogger(__name__)

LIMIT = 8
SIGHTS = 3
KEYS = 10_000
"""Keys counted before counting starts anew."""

Values = dict[Blob, Tensor]
Pass = Callable[[Sequence[Tensor]], Values]


class Recorded:
    """One pass as a CUDA graph. `held` is what its kernels read besides inputs and parameters.

    Nothing runs while it is recorded; what has to be warm for that, earlier passes of the same key have warmed.
    """

    def __init__(self, work: Pass, inputs: Sequence[Tensor], pool: Any, held: Any) -> None:
        self.inputs = [x.clone() for x in inputs]
        self.held = held
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.outputs = work(self.inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Values:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return {blob: value.clone() for blob, value in self.outputs.items()}


class Recorder:
    """Runs passes, from a recording where there is one. `held()` gives what recordings must keep alive."""

    def __init__(self, held: Callable[[], Any] = lambda: None) -> None:
        self.held = held
        self.kept: OrderedDict[Hashable, Recorded] = OrderedDict()
        self.seen: Counter[Hashable] = Counter()
        self.pool: Any = None
        self.works = True

    def run(self, asked: Hashable, work: Pass, inputs: Sequence[Tensor]) -> Values:
        """The pass on these inputs; `asked` tells it from others of the same shapes."""
        key = asked, tuple((x.shape, x.dtype, x.device) for x in inputs)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key](inputs)
        values = work(inputs)
        if len(self.seen) > KEYS:
            self.seen.clear()
        self.seen[key] += 1
        if self.works and self.seen[key] >= SIGHTS:
            self._record(key, work, inputs, values)
        return values

    def _record(self, key: Hashable, work: Pass, inputs: Sequence[Tensor], values: Values) -> None:
        try:
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            made = Recorded(work, inputs, self.pool, self.held())
            self.works = same(made(inputs), values)
        except RuntimeError as e:
            self.works = False
            logger.debug("a pass cannot be recorded: %s", str(e).partition("\n")[0])
        if self.works:
            self.kept[key] = made
        if len(self.kept) > LIMIT:
            self.kept.popitem(last=False)


def same(a: Values, b: Values) -> bool:
    """Whether values agree to a thousandth of the largest."""
    return all((a[blob] - b[blob]).abs().max() <= 1e-3 * b[blob].abs().max() for blob in b if b[blob].numel())


def recordable(bound: Bound) -> bool:
    """Whether a pass is the same work each time: no layer keeps something for the next one, or acts outside the net."""
    return all(
        layer.is_data or (keeps_nothing(layer) and (spec.tops or spec.type == "Silence")) for spec, layer in bound
    )


def keeps_nothing(layer: Layer) -> bool:
    return type(layer).memory is Layer.memory and layer.type != "Python"
