"""The graph IR: layers as written, edges resolved. Nothing here changes after it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from netspec.errors import Loc, SpecError
from netspec.spec.text import Place

AUTOMATIC = "(automatic)"


class Blob(NamedTuple):
    """A value: a name, and how often layers have overwritten it in place before."""

    name: str
    version: int = 0

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class LayerSpec:
    """One layer as written (`proto`), its resolved edges, and its place in the file."""

    name: str
    type: str
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]
    proto: Any
    place: Place

    def loc(self, field: str | None = None) -> Loc:
        """Where the layer, or a field of it by dotted path, is written."""
        return self.place.of(field) if field else self.place.loc

    def error(self, message: str, field: str | None = None) -> SpecError:
        """An error that names the layer and its place."""
        return SpecError(f"layer '{self.name}' ({self.type}): {message}", self.loc(field))


@dataclass(frozen=True)
class State:
    """What include and exclude rules are asked about."""

    phase: str = "TRAIN"
    level: int = 0
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A net in one state: layers in the order they run, every bottom the top of an earlier layer."""

    name: str
    layers: tuple[LayerSpec, ...]
    state: State
    force_backward: bool = False
    debug_info: bool = False
    file: str = "<text>"

    @property
    def phase(self) -> str:
        return self.state.phase

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Every value, in the order written."""
        return tuple(top for layer in self.layers for top in layer.tops)

    @property
    def inputs(self) -> tuple[Blob, ...]:
        """Tops of Input layers: what a caller must give."""
        return tuple(top for layer in self.layers if layer.type == "Input" for top in layer.tops)

    @property
    def outputs(self) -> tuple[Blob, ...]:
        """Values no layer reads, by name; unread inputs are outputs too, automatic tops are not."""
        read = {bottom for layer in self.layers for bottom in layer.bottoms}
        return tuple(sorted(b for b in self.blobs if b not in read and b.name != AUTOMATIC))

    def readers(self) -> dict[Blob, list[LayerSpec]]:
        """Who reads each value, once per bottom."""
        out: dict[Blob, list[LayerSpec]] = {blob: [] for blob in self.blobs}
        for layer in self.layers:
            for bottom in layer.bottoms:
                out[bottom].append(layer)
        return out

    def writers(self) -> dict[Blob, LayerSpec]:
        """Which layer makes each value."""
        return {top: layer for layer in self.layers for top in layer.tops}

    def last(self) -> dict[str, Blob]:
        """The final value of each name, in the order names first appear."""
        out: dict[str, Blob] = {}
        for blob in self.blobs:
            out[blob.name] = blob
        return out

    def verify(self, after: str = "") -> Graph:
        """Raises if a value is read before it is made or made twice; returns the graph itself.

        A graph from a file cannot fail here, so a failure is a fault of the pass named in `after`.
        """
        made: set[Blob] = set()
        where = f" after {after}" if after else ""
        for layer in self.layers:
            for bottom in layer.bottoms:
                if bottom not in made:
                    raise AssertionError(f"{layer.name} reads {bottom!r} before it is made{where}")
            for top in layer.tops:
                if top in made:
                    raise AssertionError(f"{layer.name} makes {top!r} a second time{where}")
                made.add(top)
        return self


def ancestors(graph: Graph, wanted: Iterable[Blob]) -> set[int]:
    """Positions of the layers that the wanted values depend on."""
    need, keep = set(wanted), set()
    for i in reversed(range(len(graph.layers))):
        layer = graph.layers[i]
        if need.intersection(layer.tops):
            keep.add(i)
            need.update(layer.bottoms)
    return keep
