"""netspec transplant: net surgery, the weights of one net made those of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from netspec.cli import verb
from netspec.errors import SpecError

if TYPE_CHECKING:
    from netspec.ir.graph import Graph
    from netspec.surgery import Change
    from netspec.weights.model import Model


@verb()
@click.argument("oldnet", type=click.Path())
@click.argument("oldweights", type=click.Path())
@click.argument("newnet", type=click.Path())
@click.argument("target", metavar="DST", type=click.Path())
@click.option("--suffix", default="", help="Added to the old layers' names.")
@click.option(
    "--also",
    nargs=3,
    multiple=True,
    metavar="OLDNET OLDWEIGHTS SUFFIX",
    help="One more net to copy from; repeatable. A suffix may be empty: ''.",
)
@click.option("--interp", multiple=True, metavar="PATTERN", help="Bilinear kernels for these layers; repeatable.")
@click.option("--expand", multiple=True, metavar="NEW=OLD", help="A layer with more outputs; repeatable.")
@click.option("--channel-mean", multiple=True, metavar="NEW=OLD", help="A layer with more input channels; repeatable.")
@click.option("--leave", multiple=True, metavar="PATTERN", help="Layers to keep as they are; repeatable.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides what random fillers give.")
def command(
    oldnet: str,
    oldweights: str,
    newnet: str,
    target: str,
    suffix: str,
    also: tuple[tuple[str, str, str], ...],
    interp: tuple[str, ...],
    expand: tuple[str, ...],
    channel_mean: tuple[str, ...],
    leave: tuple[str, ...],
    seed: int,
) -> None:
    """Make the weights of NEWNET from those of OLDNET, and write them to DST.

    Layers go by name. Fully connected layers become convolutions and the other way round; what fits nothing is an
    error. What was copied, coerced, dropped and left with its filler's values is printed.

    Example: netspec transplant vgg16.prototxt vgg16.caffemodel train.prototxt start.caffemodel --interp 'up*'
    """
    import torch

    from netspec import weights
    from netspec.net import Net
    from netspec.surgery import Wishes, interpolate, left, transplant

    weights.suffix(target)
    torch.manual_seed(seed)
    new = Net(any_phase(newnet, "TRAIN"))
    wishes = Wishes(suffix, pairs(expand, "--expand"), pairs(channel_mean, "--channel-mean"), leave)
    changes = transplant(new, read_old(oldnet, oldweights), wishes)
    for net, file, more in also:
        changes += transplant(new, read_old(net, file), Wishes(more, leave=leave))
    filled = interpolate(new, interp)
    again = {c.layer for c in filled}
    changes = [c for c in changes if c.kind == "dropped" or c.layer not in again] + filled
    changes += left(new, changes)
    show(changes)
    weights.write(target, new.to_model())
    click.echo(f"{target}: written")


def any_phase(path: str, first: str) -> Graph:
    """The net without its data layers, in the phase given or in the other."""
    from netspec.cli._net import in_phases, read_net
    from netspec.passes.data_to_input import data_to_input

    graphs, _ = in_phases(read_net(path), (first, "TRAIN", "TEST"), 0, ())
    return data_to_input(next(iter(graphs.values()))).graph


def read_old(net: str, file: str) -> Model:
    """The old weights as the old net has them; weights of transposed layers are turned round."""
    from netspec import weights
    from netspec.weights.fitting import check, fit

    graph = any_phase(net, "TEST")
    report, model = fit(weights.read(file), graph)
    check(report, file)
    turned = {s.name for s in graph.layers if s.type == "InnerProduct" and s.proto.inner_product_param.transpose}
    for layer in model.layers:
        if layer.name in turned and layer.blobs and (weight := layer.blobs[0]) is not None:
            layer.blobs[0] = weight.T
    return model


def pairs(values: Iterable[str], option: str) -> dict[str, str]:
    """`new=old`, several times."""
    out = {}
    for value in values:
        new, sign, old = value.partition("=")
        if not (new and sign and old):
            raise click.BadParameter(f"'{value}' is not of the form NEW=OLD", param_hint=option)
        out[new] = old
    if len(out) != len(list(values)):
        raise SpecError(f"{option} names a layer twice")
    return out


def show(changes: list[Change]) -> None:
    """A line per layer, by kind."""
    for kind in ("copied", "coerced", "expanded", "averaged", "interpolated", "dropped", "left"):
        rows = [c for c in changes if c.kind == kind]
        plain = [c.layer for c in rows if not c.note]
        if plain:
            click.echo(f"{kind}: {', '.join(plain)}")
        for change in rows:
            if change.note:
                click.echo(f"{kind}: {change.layer} ({change.note})")
