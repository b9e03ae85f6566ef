"""Runs the chains that passes/halo_elision plans: constants, the frame from a template, and the planes (planes.py)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.ir.graph import Blob
from netspec.layers.base import Shape
from netspec.layers.spatial import layout_of
from netspec.margins import cut
from netspec.passes.halo_elision import Chain, Level, Plan, plan, top_sizes
from netspec.planes import planes, run_layer
from netspec.step import Step

Surroundings = tuple[list[Tensor], dict[int, Tensor]]
PLANS, TEMPLATES = 1000, 8


class Halo:
    """One chain of a net, with the plans and, for inference, the templates of the picture sizes seen last."""

    def __init__(self, chain: Chain, recompute: bool = False) -> None:
        self.chain, self.recompute = chain, recompute
        self.plans: OrderedDict[tuple[int, ...], Plan | None] = OrderedDict()
        self.kept: OrderedDict[Any, Surroundings] = OrderedDict()

    def held(self) -> list[Surroundings]:
        """The templates that are kept now."""
        return list(self.kept.values())

    def run(self, steps: Sequence[Step], x: Tensor, outside: Collection[Blob]) -> tuple[dict[Blob, Tensor], int] | None:
        """Whole tops of the chain that `outside` asks for, and how many layers were run; None where it does not pay.

        The last layer run is always among the tops.
        """
        found = self.planned(steps, tuple(x.shape))
        if found is None:
            return None
        members = steps[: len(found.rows)]
        last = len(members) - 1
        wanted = [i for i, top in enumerate(self.chain.tops[: last + 1]) if top in outside or i == last]
        consts, frames = self.surroundings(members, x, found, wanted)
        made = planes(members, x, consts, found, wanted, self.recompute and torch.is_grad_enabled())
        tops = {self.chain.tops[i]: whole(frames[i], y, found.rows[i], found.columns[i]) for i, y in made}
        return tops, len(members)

    def planned(self, steps: Sequence[Step], shape: tuple[int, ...]) -> Plan | None:
        """The plan for a picture; the shape rules of the layers give the sizes of their tops."""
        if len(shape) != 4:
            return None
        key = (len(steps), *shape)
        if key not in self.plans:
            shapes: list[Shape] = [shape]
            macs: list[int] = []
            for step in steps:
                step.check((shapes[-1],))
                shapes.append(tuple(step.layer.shapes([shapes[-1]])[0]))
                macs.append(step.layer.macs([shapes[-2]], [shapes[-1]]))
            keep(self.plans, key, plan(self.chain, (shape[2], shape[3]), top_sizes(shapes[1:]), macs), PLANS)
        return self.plans[key]

    def surroundings(self, steps: Sequence[Step], x: Tensor, found: Plan, wanted: Sequence[int]) -> Surroundings:
        """Constants of all layers and templates of the wanted tops.

        They are kept while gradients are off and the parameters stay as they are; not what a CUDA graph is to make.
        """
        sizes = tuple((r.template, c.template) for r, c in zip(found.rows, found.columns, strict=True))
        key = (sizes, tuple(wanted), x.dtype, torch.is_autocast_enabled(x.device.type), versions(steps))
        if key in self.kept and not torch.is_grad_enabled():
            return self.kept[key]
        made = template(steps, x, found, wanted)
        recording = x.is_cuda and torch.cuda.is_current_stream_capturing()
        if not (torch.is_grad_enabled() or recording or None in key[-1]):
            if any(other[-1] != key[-1] for other in self.kept):
                self.kept.clear()
            keep(self.kept, key, made, TEMPLATES)
        return made


def keep(table: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    """Enters a value and lets the oldest go."""
    table[key] = value
    if len(table) > limit:
        table.popitem(last=False)


def versions(steps: Sequence[Step]) -> tuple[Any, ...]:
    """What changes whenever a parameter does, packed ones never; None for one that does not count its changes."""
    return tuple(
        None if p.is_inference() else (p.data_ptr(), p._version)
        for step in steps
        if step.packed is None
        for p in step.params()
    )


def template(steps: Sequence[Step], x: Tensor, found: Plan, wanted: Sequence[int]) -> Surroundings:
    """The chain on a plane without a picture, no larger than its frame: all layers' constants, and the wanted tops.

    The first layer makes one constant of zeros; each later one's, 1 x C x 1 x 1, is what it has in a clear cell.
    """
    window = steps[0].layer.sliding()
    assert window is not None
    zeros = x.new_zeros(1, x.shape[1], *window.extent())
    consts = [steps[0].layer.slide(zeros, steps[0].params(), (0, 0))]
    size = found.rows[0].template, found.columns[0].template
    y = consts[0].expand(-1, -1, *size).contiguous(memory_format=layout_of(x))
    made = {0: y} if 0 in wanted else {}
    for i, step in enumerate(steps[1:], 1):
        y = run_layer(step, y.clone() if step.layer.overwrite and i - 1 in wanted else y)
        row, column = found.rows[i].clear.lo, found.columns[i].clear.lo
        consts.append(cut(y, (slice(row, row + 1), slice(column, column + 1))).clone())
        if i in wanted:
            made[i] = y
    return consts, made


def whole(frame: Tensor, plane: Tensor, row: Level, column: Level) -> Tensor:
    """The whole top: the template, its constant row and column repeated, and the plane in its place."""
    full = frame.index_select(2, stretched(row, frame.device)).index_select(3, stretched(column, frame.device))
    full = full.expand(plane.shape[0], -1, -1, -1)
    layout = layout_of(plane)
    full = full.clone(memory_format=layout) if plane.shape[0] > 1 else full.contiguous(memory_format=layout)
    full[:, :, row.plane.lo : row.plane.hi, column.plane.lo : column.plane.hi] = plane
    return full


def stretched(level: Level, device: torch.device) -> Tensor:
    """Indices into the template for every cell of the whole axis."""
    index = torch.arange(level.size, device=device)
    extra = level.size - level.template
    first = level.clear.lo
    return torch.where(index <= first, index, torch.where(index >= first + extra, index - extra, first))
