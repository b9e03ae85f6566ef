"""netspec deploy: the deploy net of a training net."""

from __future__ import annotations

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.cli._net import in_phases, read_net


@verb()
@click.argument("net", type=click.Path())
@click.option("-o", "output", required=True, type=click.Path(), help="The file to write.")
@opt.shape
@click.option("--raw", is_flag=True, help="End with the scores: no Softmax in place of SoftmaxWithLoss.")
@click.option("--level", default=0, show_default=True, help="The level of the net's state.")
@click.option("--stage", "stages", multiple=True, help="A stage of the net's state; repeatable.")
def command(net: str, output: str, shape: tuple[str, ...], raw: bool, level: int, stages: tuple[str, ...]) -> None:
    """Derive the deploy net of a training net: Input layers for data layers, no labels, no losses.

    Names stay, so weights load. The deploy nets of the FCN papers end with scores: --raw.

    Example: netspec deploy prototxt/voc-fcn8s/train.prototxt -o deploy.prototxt --raw --shape data=1x3x500x500
    """
    from netspec.ir.emit import emit_text
    from netspec.passes.deploy import check_names, deploy
    from netspec.spec.binary import replacing

    graphs, _ = in_phases(read_net(net), ("TEST", "TRAIN"), level, stages)
    graph = graphs.get("TEST") or graphs["TRAIN"]
    given = opt.read_shapes(shape)
    derived = deploy(graph, given, raw)
    check_names(derived, given)
    text = emit_text(derived)
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
