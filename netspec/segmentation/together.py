"""What a net's data layers bring, batches of one size run together.

Batches are drawn for as long as a window has room for their pixels; of those, batches of the same shapes go through the
net as one, up to `most` pixels at once. Values come apart again, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netspec.errors import SpecError
from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.segmentation.flow import alike, windows

Values = dict[Blob, Tensor]


@dataclass(frozen=True)
class Batch:
    """What the data layers gave for one number of the run; `id` is what the first that knows calls it."""

    number: int
    drawn: Values
    id: str | None

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        return tuple(value.shape for value in self.drawn.values())

    @property
    def kind(self) -> Hashable:
        """The same for batches that can be one: equal shapes, all with a first axis; else the batch's own number."""
        return self.shapes if self.shapes and all(self.shapes) else self.number

    @property
    def pixels(self) -> int:
        return max((shape[0] * shape[2:].numel() for shape in self.shapes if len(shape) == 4), default=0)


def run(
    net: Net, wanted: Sequence[Blob], numbers: Iterable[int], window: int, most: int
) -> Iterator[tuple[Batch, Values]]:
    """The wanted values of a batch for each number, in the order in which they are ready."""
    most = most if separate(net, wanted) else 0
    drawn = (draw(net, number) for number in numbers)
    for batches in windows(drawn, lambda batch: batch.pixels, window):
        for group in alike(batches, lambda batch: batch.kind, lambda batch: batch.pixels, most):
            yield from zip(group, run_group(net, wanted, group), strict=True)


def draw(net: Net, number: int) -> Batch:
    drawn = net.draw()
    ids = [i for _, layer in net.data_layers() if (i := getattr(layer.source(), "id", None))]
    return Batch(number, drawn, ids[0] if ids else None)


def separate(net: Net, wanted: Sequence[Blob]) -> bool:
    """Whether every layer of the course looks at one item at a time, as far as can be told."""
    course = net.course(tuple(wanted))
    steps = [net.steps[n] for n in course.numbers]
    own = [s.spec.type != "Python" and getattr(s.layer, "stored", True) for s in steps if not s.layer.is_data]
    return all(own) and all(s.spec.tops or s.spec.type == "Silence" for s in steps)


def run_group(net: Net, wanted: Sequence[Blob], group: Sequence[Batch]) -> Iterator[Values]:
    """Each batch's wanted values; one by one where the net refuses them together or gives other than rows of each."""
    if len(group) > 1:
        sizes = [batch.shapes[0][0] for batch in group]
        together = {b: torch.cat([batch.drawn[b] for batch in group]) for b in group[0].drawn}
        values = attempt(lambda: net.run(wanted, {}, together))
        if values and all(values[b].ndim and len(values[b]) == sum(sizes) for b in wanted):
            rows = {b: values[b].split(sizes) for b in wanted}
            yield from ({b: rows[b][i] for b in wanted} for i in range(len(group)))
            return
    for batch in group:
        yield net.run(wanted, {}, batch.drawn)


def attempt(run: Callable[[], Values]) -> Values | None:
    try:
        return run()
    except SpecError:
        return None
