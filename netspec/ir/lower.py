"""Message -> Graph: which layers a state keeps, and which value every bottom reads.

1. A layer with include rules is kept when one of them is met, with exclude rules unless one is met.
2. A bottom reads the last top of that name above it; a name nobody wrote is an error.
3. A top that repeats the bottom at its own position overwrites it: a new version of the same name.
   Any other repeated top is an error, and so is overwriting a value that another layer reads above.
4. The state's phase and level come from the caller; stages are the file's and the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec import schema
from netspec.errors import SpecError, suggestion
from netspec.ir.graph import Blob, Graph, LayerSpec, State
from netspec.ir.words import counted
from netspec.spec.text import Document, Place

PHASES = ("TRAIN", "TEST")


def lower(document: Document, phase: str = "TRAIN", level: int = 0, stages: Sequence[str] = ()) -> Graph:
    """The graph of a net (in today's form) in one state. Errors carry file and line."""
    net = document.message
    if phase not in PHASES:
        raise SpecError(f"phase '{phase}' is not TRAIN or TEST")
    state = State(phase, level, (*net.state.stage, *stages))
    places = document.place.fields.get("layer", [])
    taken = [(proto, place) for proto, place in zip(net.layer, places, strict=True) if kept(proto, place, state)]
    wiring = _Wiring({top: proto.name for proto, _ in reversed(taken) for top in proto.top})
    layers = [wiring.layer(proto, place) for proto, place in taken]
    return Graph(net.name, tuple(layers), state, net.force_backward, net.debug_info, document.file).verify("lower")


def kept(proto: Any, place: Place, state: State) -> bool:
    """Whether the layer's include and exclude rules admit it."""
    if proto.include and proto.exclude:
        raise SpecError(f"layer '{proto.name}' has include and exclude rules; give one kind", place.of("exclude"))
    if proto.include:
        return any(meets(rule, state) for rule in proto.include)
    return not any(meets(rule, state) for rule in proto.exclude)


def meets(rule: Any, state: State) -> bool:
    """A rule is met when everything it gives holds: phase, min_level, max_level, all stage, no not_stage."""
    if rule.HasField("phase") and schema.enum_name(rule, "phase") != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    return all(s in state.stages for s in rule.stage) and not any(s in state.stages for s in rule.not_stage)


class _Wiring:
    """Follows names down the file: the last value of each, who made it, who read it; `makers` are all there are."""

    def __init__(self, makers: dict[str, str]) -> None:
        self.makers = makers
        self.last: dict[str, Blob] = {}
        self.writer: dict[Blob, str] = {}
        self.reader: dict[Blob, str] = {}

    def layer(self, proto: Any, place: Place) -> LayerSpec:
        spec = LayerSpec(proto.name, proto.type, (), (), proto, place)
        if proto.propagate_down and len(proto.propagate_down) != len(proto.bottom):
            raise spec.error(
                f"propagate_down is given {counted(len(proto.propagate_down), 'time')} "
                f"for {counted(len(proto.bottom), 'bottom')}",
                "propagate_down",
            )
        bottoms = tuple(self.bottom(spec, i, name) for i, name in enumerate(proto.bottom))
        earlier = dict(self.reader)
        for blob in bottoms:
            self.reader.setdefault(blob, proto.name)
        tops = tuple(self.top(spec, i, name, bottoms, earlier) for i, name in enumerate(proto.top))
        for weight, blob in zip(proto.loss_weight, tops, strict=False):
            if weight:
                self.reader.setdefault(blob, f"the loss weight of {proto.name}")
        return LayerSpec(proto.name, proto.type, bottoms, tops, proto, place)

    def bottom(self, spec: LayerSpec, index: int, name: str) -> Blob:
        if name not in self.last:
            message = f"layer '{spec.name}' ({spec.type}): no layer above makes its bottom '{name}'"
            raise SpecError(message + self.elsewhere(spec, name), nth(spec.place, "bottom", index).loc)
        return self.last[name]

    def elsewhere(self, spec: LayerSpec, name: str) -> str:
        """Who makes a name that nobody above makes, or what may have been meant."""
        if name not in self.makers:
            return suggestion(name, self.last)
        maker = self.makers[name]
        return ", but it does itself" if maker == spec.name else f", but layer '{maker}' below does"

    def top(self, spec: LayerSpec, index: int, name: str, bottoms: tuple[Blob, ...], earlier: dict[Blob, str]) -> Blob:
        proto = spec.proto
        if index < len(proto.bottom) and proto.bottom[index] == name:
            old = bottoms[index]
            if old in earlier or bottoms.count(old) > 1:
                raise self.refused(
                    spec, index, f"changes '{name}' in place, but '{earlier.get(old, spec.name)}' reads it too"
                )
            new = Blob(name, old.version + 1)
        elif name in self.last:
            raise self.refused(spec, index, f"top '{name}' is made by layer '{self.writer[self.last[name]]}' already")
        else:
            new = Blob(name)
        self.last[name] = new
        self.writer[new] = spec.name
        return new

    def refused(self, spec: LayerSpec, index: int, message: str) -> SpecError:
        return SpecError(f"layer '{spec.name}' ({spec.type}): {message}", nth(spec.place, "top", index).loc)


def nth(place: Place, field: str, index: int) -> Place:
    """The place of the index-th value of a repeated field, or of the message."""
    found = place.fields.get(field, [])
    return found[index] if index < len(found) else place
