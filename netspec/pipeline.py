"""The way through: a prototxt file becomes a graph, a graph becomes a net."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import Loc, SpecError
from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.ir.words import counted
from netspec.spec import text
from netspec.spec.upgrade import upgrade_net

if TYPE_CHECKING:
    from netspec.layers.base import Context, Shape
    from netspec.net import Net
    from netspec.weights.report import LoadReport

logger = logging.getLogger("netspec.weights")


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
    from netspec.layers.base import Context
    from netspec.net import Net

    graph = load_graph(path, phase, level, stages)
    net = Net(graph, context or Context(folder=Path(path).parent), shapes)
    tell_missing([copy_weights(file, net) for file in as_list(weights)])
    return net


def copy_weights(file: str | Path, *nets: Net) -> LoadReport:
    """Copies the blobs of a weight file into nets by layer name; what the first lacked, or a misfit as an error."""
    from netspec import weights as stored

    model = stored.read(file)
    try:
        return [net.copy_from(model) for net in nets][0]
    except SpecError as e:
        raise e.at(Loc(str(file))) from None


def tell_missing(reports: Sequence[LoadReport]) -> None:
    """A warning of the layers that have parameters in none of the files."""
    names = [name for name in reports[0].missing if all(name in r.missing for r in reports)] if reports else []
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        logger.warning("no weights for %s: what the fillers gave stays (%s)", counted(len(names), "layer"), shown)


def as_list(value: Any) -> list[Any]:
    """None, one path or several -> a list."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, Path)) else list(value)
