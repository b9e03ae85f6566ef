"""caffe.draw: pictures of nets, as `netspec draw` makes them. Graphviz is not needed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from netspec.draw.dot import dot
from netspec.draw.files import write
from netspec.draw.net import draw_net as picture_of
from netspec.draw.picture import Picture
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.spec import text
from netspec.spec.upgrade import upgrade_net

PHASES = ("TRAIN", "TEST")


def picture(caffe_net: Any, phase: int | None = None) -> Picture:
    """The picture of a NetParameter in a phase, TRAIN unless one is given."""
    document = upgrade_net(text.parse(text.dump(caffe_net), caffe_net.name or "<net>"))
    return picture_of(lower(document, PHASES[phase or 0]))


def draw_net(caffe_net: Any, rankdir: str = "TB", ext: str = "png", phase: int | None = None) -> bytes:
    """A NetParameter as png, svg, html or dot. Pictures go from top to bottom whatever `rankdir` says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net.{ext}"
        write({caffe_net.name: picture(caffe_net, phase)}, path)
        return path.read_bytes()


def draw_net_to_file(caffe_net: Any, filename: str, rankdir: str = "TB", phase: int | None = None) -> None:
    """The picture in a file: .png, .svg, .html or .dot."""
    write({caffe_net.name: picture(caffe_net, phase)}, filename)


def get_pydot_graph(caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None) -> Any:
    """The graph as an object of the package pydot."""
    try:
        import pydot  # type: ignore[import-not-found]
    except ImportError:
        raise SpecError("get_pydot_graph wants the package pydot; draw_net does without") from None
    graph = pydot.graph_from_dot_data(dot(picture(caffe_net, phase)))[0]
    graph.set_rankdir(rankdir)
    return graph
