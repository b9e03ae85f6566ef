"""netspec draw: a net as a picture, or as a page to look around in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.cli._net import has_phase_rules, in_phases, read_net, state_options
from netspec.errors import SpecError

if TYPE_CHECKING:
    from netspec.ir.graph import Graph
    from netspec.layers import Shape
    from netspec.passes.summary import Summary


@verb()
@click.argument("net", type=click.Path())
@click.option("-o", "output", required=True, type=click.Path(), help="The file to write: .svg .png .dot .html")
@opt.shape
@state_options
@click.option("--closed", is_flag=True, help="Repeated blocks as one box each (.svg, .png).")
@click.option("--dark", is_flag=True, help="On a dark ground (.svg, .png).")
def command(
    net: str,
    output: str,
    shape: tuple[str, ...],
    phase: str | None,
    level: int,
    stages: tuple[str, ...],
    closed: bool,
    dark: bool,
) -> None:
    """Draw a net, with the shapes of its blobs. Needs no Graphviz.

    The page (.html) needs nothing beside it: pan, zoom, search, open and close repeated blocks, click a layer for its
    fields, shapes and numbers. A net with phase rules is drawn in phase TRAIN unless --phase says otherwise; the page
    has both.

    Example: netspec draw prototxt/voc-fcn8s/train.prototxt -o fcn8s.html
    """
    from netspec.draw.files import check_suffix, write
    from netspec.draw.net import draw_net

    several = check_suffix(output) == ".html" and not phase
    document = read_net(net)
    graphs, _ = in_phases(document, [phase] if phase else ["TRAIN", "TEST"], level, stages)
    if not (several and has_phase_rules(document)):
        graphs = dict([next(iter(graphs.items()))])
    shapes = opt.read_shapes(shape)
    write({p: draw_net(g, numbers(g, shapes)) for p, g in graphs.items()}, output, closed, dark)


def numbers(graph: Graph, given: Mapping[str, Shape]) -> Summary | None:
    """Shapes and costs; a net that they cannot be told of is drawn without, unless shapes were asked for."""
    from netspec.passes.summary import summary

    log = logging.getLogger("netspec")
    try:
        found = summary(graph, given)
    except SpecError as e:
        if given:
            raise
        log.warning("drawn without shapes: %s", e)
        return None
    for line in found.unknown:
        log.warning("%s", line)
    return found
