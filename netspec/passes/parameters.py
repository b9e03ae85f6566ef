"""parameters: which parameter blobs a net has, who owns each, and how fast each learns.

1. A blob without a name, or the first of a name, is its own; later ones of that name share the owner's values.
2. Sharing wants equal shapes, or with share_mode PERMISSIVE equal counts.
3. lr_mult and decay_mult may be given by any sharer; two that differ are refused.
4. A statistic (running mean, ...) has lr_mult and decay_mult 0.
5. Whether a layer gives its blob a gradient is decided by the lr_mult that the layer itself gives, or 1: of two sharers
   one may be left out.
6. A layer with a bottom of unknown shape has no rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from netspec import schema
from netspec.errors import SpecError
from netspec.ir.graph import Blob, LayerSpec
from netspec.ir.lower import nth
from netspec.layers.base import ParamBlob, Shape
from netspec.passes.bind import Bound, blame


@dataclass(frozen=True)
class Parameter:
    """One parameter blob of one layer; `owner` is its position in the table, its own unless it is shared."""

    layer: int
    index: int
    blob: ParamBlob
    owner: int
    lr_mult: float
    decay_mult: float
    learns: bool


def parameters(bound: Bound, shapes: Mapping[Blob, Shape]) -> tuple[Parameter, ...]:
    """The table of parameter blobs, in the order of layers and of each layer's blobs."""
    table: list[Parameter] = []
    named: dict[str, int] = {}
    multipliers: dict[int, dict[str, float]] = {}
    for number, (spec, layer) in enumerate(bound):
        if any(b not in shapes for b in spec.bottoms):
            continue
        with blame(spec):
            blobs = layer.params([shapes[b] for b in spec.bottoms])
        if len(spec.proto.param) > len(blobs):
            raise spec.error(f"has {len(spec.proto.param)} param entries for {len(blobs)} parameter blobs", "param")
        for index, blob in enumerate(blobs):
            param = spec.proto.param[index] if index < len(spec.proto.param) else schema.ParamSpec()
            position = len(table)
            owner = named.setdefault(param.name, position) if param.name else position
            if owner != position:
                check_sharing(spec, index, param, blob, table[owner].blob)
            own = multipliers.setdefault(owner, {})
            if blob.learn:
                merge_multipliers(spec, index, param, own)
            table.append(Parameter(number, index, blob, owner, 1.0, 1.0, blob.learn and param.lr_mult != 0))
    return tuple(with_multipliers(p, multipliers[p.owner]) for p in table)


def with_multipliers(p: Parameter, given: Mapping[str, float]) -> Parameter:
    if not p.blob.learn:
        return replace(p, lr_mult=0.0, decay_mult=0.0)
    return replace(p, lr_mult=given.get("lr_mult", 1.0), decay_mult=given.get("decay_mult", 1.0))


def merge_multipliers(spec: LayerSpec, index: int, param: Any, own: dict[str, float]) -> None:
    """What any sharer gives counts for all; two different values are an error."""
    for field in ("lr_mult", "decay_mult"):
        if param.HasField(field):
            value = getattr(param, field)
            if own.setdefault(field, value) != value:
                message = f"shared param '{param.name}' has {field} {own[field]:g} elsewhere and {value:g} here"
                raise located(spec, index, message)


def check_sharing(spec: LayerSpec, index: int, param: Any, blob: ParamBlob, owner: ParamBlob) -> None:
    """Rule 2."""
    permissive = schema.enum_name(param, "share_mode") == "PERMISSIVE"
    fits = prod(blob.shape) == prod(owner.shape) if permissive else blob.shape == owner.shape
    if not fits:
        how = "as many values" if permissive else "the same shape"
        shapes = f"has shape {list(blob.shape)}, its owner {list(owner.shape)}"
        raise located(spec, index, f"shared param '{param.name}' {shapes}; sharing wants {how}")


def located(spec: LayerSpec, index: int, message: str) -> SpecError:
    return SpecError(f"layer '{spec.name}' ({spec.type}): {message}", nth(spec.place, "param", index).loc)
