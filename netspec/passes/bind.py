"""bind: graph -> one Layer object per layer, and the graph with the tops that loss layers make by themselves.

1. A layer's class is looked up by its type; its settings are read and checked.
2. Numbers of bottoms and tops are checked against the class.
3. A loss layer with fewer tops than its class needs gets blobs named "(automatic)".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netspec.errors import LayerError, SpecError
from netspec.ir.graph import AUTOMATIC, Blob, Graph, LayerSpec
from netspec.ir.words import counted
from netspec.layers import Context, Layer, layer_class
from netspec.layers.unhonoured import check_honoured


@dataclass(frozen=True)
class Bound:
    """A graph and its layers, in the same order."""

    graph: Graph
    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[tuple[LayerSpec, Layer]]:
        return iter(zip(self.graph.layers, self.layers, strict=True))


class blame:
    """`with blame(spec):` gives errors raised by a layer its name and its place. Entered in every step."""

    __slots__ = ("spec",)

    def __init__(self, spec: LayerSpec) -> None:
        self.spec = spec

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SpecError) and error.loc is None:
            raise self.spec.error(error.message, error.field if isinstance(error, LayerError) else None) from None


def bind(graph: Graph, context: Context | None = None) -> Bound:
    """Layer objects for a graph. Every misfit of settings or counts is a located error."""
    context = replace(context or Context(), phase=graph.phase)
    specs, layers, automatic = [], [], 0
    for spec in graph.layers:
        with blame(spec):
            cls = layer_class(spec.type)
            missing = max(0, cls.tops[0] - len(spec.tops)) if cls.loss else 0
            made = tuple(Blob(AUTOMATIC, automatic + i) for i in range(missing))
            automatic += missing
            spec = replace(spec, tops=spec.tops + made)
            check_counts(cls, spec)
            layers.append(cls(spec.proto, context))
            check_honoured(spec.proto)
        specs.append(spec)
    return Bound(replace(graph, layers=tuple(specs)).verify("bind"), tuple(layers))


def check_counts(cls: type[Layer], spec: LayerSpec) -> None:
    """The numbers of bottoms and tops a type takes."""
    for word, blobs, (least, most) in (("bottom", spec.bottoms, cls.bottoms), ("top", spec.tops, cls.tops)):
        n = len(blobs)
        if n < least or (most is not None and n > most):
            wanted = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            raise spec.error(f"has {counted(n, word)} and takes {wanted}", word)
    if cls.same_count and len(spec.bottoms) != len(spec.tops):
        both = f"{counted(len(spec.bottoms), 'bottom')} and {counted(len(spec.tops), 'top')}"
        raise spec.error(f"has {both}; it takes as many of each", "top")
