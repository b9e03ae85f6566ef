"""netspec convert: weights from one format to another, and nets out of Caffe's world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.errors import Loc, SpecError

if TYPE_CHECKING:
    import numpy as np

    from netspec.export.picture import Picture
    from netspec.ir.graph import Graph
    from netspec.weights.model import Model

MEANS = (".binaryproto", ".npy")
EXPORTS = (".onnx", ".pt2", ".py")


@verb()
@click.argument("source", metavar="SRC", type=click.Path())
@click.argument("target", metavar="DST", type=click.Path())
@click.option("--net", type=click.Path(), help="The net of the weights; by default what SRC itself holds.")
@click.option("--strict", is_flag=True, help="With --net: refuse layers that are missing or unexpected.")
@click.option("--partial", is_flag=True, help="With --net: leave out blobs of another shape.")
@click.option("--level", default=0, show_default=True, help="The level of the net's state.")
@click.option("--stage", "stages", multiple=True, help="A stage of the net's state; repeatable.")
@opt.shape
@click.option("--fixed-size", is_flag=True, help="Height and width stay as declared in .onnx and .pt2.")
@click.option("--preprocess", type=click.Choice(["rgb-uint8"]), help="Fold mean and BGR in: the net takes pictures.")
@click.option("--mean", metavar="B,G,R|FILE", help="For --preprocess: means, or a mean image; default ImageNet's.")
@click.option("--scale", type=float, help="For --preprocess: factor after the mean; default 1.")
@click.option("--verify/--no-verify", default=True, help="Run both and compare (on by default).")
def command(source: str, target: str, net: str | None, verify: bool, **options: Any) -> None:
    """Convert weights by suffix: .caffemodel .caffemodel.h5 .safetensors .pt .npz; means: .binaryproto .npy.

    With a net, also to .onnx, .pt2 (torch.export) and .py (a readable PyTorch module, its weights beside it). The
    result is run beside the net on the same inputs of three sizes; if they differ beyond rounding, nothing is kept.

    Example: netspec convert fcn8s-heavy-pascal.caffemodel fcn8s.onnx --net prototxt/voc-fcn8s/deploy.prototxt
    """
    ends = Path(source).suffix.lower(), Path(target).suffix.lower()
    if any(end in MEANS for end in ends):
        convert_mean(source, target, verify)
    elif ends[1] in EXPORTS:
        convert_net(source, target, net, verify, options)
    else:
        if options["preprocess"] or options["mean"] or options["fixed_size"]:
            raise click.UsageError(f"--preprocess, --mean and --fixed-size are for {', '.join(EXPORTS)}")
        convert_weights(source, target, net, verify, options)


def convert_mean(source: str, target: str, verify: bool) -> None:
    """A mean image."""
    from netspec.weights import mean

    values = mean.read(source)
    mean.write(target, values)
    if verify and (mean.read(target) != values).any():
        os.unlink(target)
        raise SpecError("what was written does not read back the same", Loc(target))
    click.echo(f"{target}: mean of {' x '.join(map(str, values.shape))}")


def convert_weights(source: str, target: str, net: str | None, verify: bool, options: dict[str, Any]) -> None:
    """A weight file; it takes its name when it has been read back the same."""
    from netspec import weights
    from netspec.spec.binary import replacing
    from netspec.weights.fitting import differing
    from netspec.weights.model import completed

    form = weights.form(target)
    model = weights.read(source)
    if net:
        model = fitted(model, read_graph(net, options), source, options)
    model = completed(model, model.net, source)
    with replacing(target, durable=False) as temporary:
        form.write(temporary, model)
        if verify and (wrong := differing(model, form.read(temporary))):
            raise SpecError(f"what was written does not read back the same: {', '.join(wrong)}", Loc(target))
    blobs = [b for layer in model.blobs().values() for b in layer if b is not None]
    click.echo(f"{target}: {len(model.blobs())} layers, {sum(b.size for b in blobs):,} values")


def convert_net(source: str, target: str, net: str | None, verify: bool, options: dict[str, Any]) -> None:
    """A net with its weights."""
    from netspec import weights
    from netspec.export import export
    from netspec.export.plan import deployed, ready, stored_graph

    model = weights.read(source)
    shapes = opt.read_shapes(options["shape"])
    whole = read_graph(net, options) if net else None
    graph = deployed(whole, shapes) if whole else stored_graph(model, source, shapes)
    model = fitted(model, graph, source, options)
    made = ready(graph, model, shapes, options["partial"])
    picture = read_picture(whole, options)
    rows = export(made, target, picture=picture, fixed_size=options["fixed_size"], verify=verify)
    for row in rows:
        click.echo(str(row))
    files = f"{target} and {Path(target).with_suffix('.pt')}" if target.endswith(".py") else target
    click.echo(f"{files}: {'computes what the net does' if rows else 'written, not verified'}")


def read_graph(net: str, options: dict[str, Any]) -> Graph:
    """The net in the TEST phase, or in TRAIN where it has no other."""
    from netspec.cli._net import in_phases, read_net

    graphs, _ = in_phases(read_net(net), ("TEST", "TRAIN"), options["level"], options["stages"])
    return graphs.get("TEST") or graphs["TRAIN"]


def fitted(model: Model, graph: Graph, source: str, options: dict[str, Any]) -> Model:
    """The model as the net would store it; the report is printed if it tells of anything."""
    import logging

    from netspec.cli._load_report import print_report
    from netspec.weights.fitting import check, fit

    report, model = fit(model, graph, opt.read_shapes(options["shape"]))
    verbose = logging.getLogger("netspec").isEnabledFor(logging.DEBUG)
    if verbose or report.missing or report.unexpected or report.wrong_shape:
        print_report(report, verbose)
    check(report, source, options["strict"], options["partial"])
    return model


def read_picture(graph: Graph | None, options: dict[str, Any]) -> Picture | None:
    """What --preprocess folds in: the mean given, else that of the net's data layer, else ImageNet's."""
    if not options["preprocess"]:
        if options["mean"] or options["scale"] is not None:
            raise click.UsageError("--mean and --scale go with --preprocess")
        return None
    from netspec.export.picture import Picture, declared

    mean, scale = declared(graph)
    if options["mean"]:
        mean = read_mean(options["mean"])
    return Picture(mean, scale if options["scale"] is None else options["scale"])


def read_mean(text: str) -> np.ndarray:
    """`104,117,123`, or a file."""
    import numpy as np

    from netspec.cli.infer import read_mean
    from netspec.weights import mean

    return mean.read(text) if text.endswith(MEANS) else np.array(read_mean(text), np.float32)
