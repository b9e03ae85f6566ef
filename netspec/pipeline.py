"""The way through: a prototxt file becomes a graph, a graph becomes a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.spec import text
from netspec.spec.upgrade import upgrade_net

if TYPE_CHECKING:
    from netspec.layers.base import Context, Shape
    from netspec.net import Net


def read_net(path: str | Path) -> text.Document:
    """A net file in today's form, whatever form it was written in."""
    return upgrade_net(text.read(path))


def load_graph(path: str | Path, phase: str = "TRAIN", level: int = 0, stages: Sequence[str] = ()) -> Graph:
    """prototxt file -> Graph: parsed, upgraded, lowered, verified."""
    return lower(read_net(path), phase, level, stages)


def load(
    path: str | Path,
    weights: str | Path | Sequence[str | Path] | None = None,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    *,
    context: Context | None = None,
    shapes: Mapping[str, Shape] | None = None,
) -> Net:
    """prototxt file -> Net, an nn.Module, with the weights of one or several files in any known format."""
    from netspec import weights as stored
    from netspec.layers.base import Context
    from netspec.net import Net

    graph = load_graph(path, phase, level, stages)
    net = Net(graph, context or Context(folder=Path(path).parent), shapes)
    for file in as_list(weights):
        net.copy_from(stored.read(file))
    return net


def as_list(value: Any) -> list[Any]:
    """None, one path or several -> a list."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, Path)) else list(value)
