"""netspec infer: label maps or classes of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.errors import Loc, SpecError

if TYPE_CHECKING:
    import numpy as np

    from netspec.segmentation.infer import Mean, Runner


@verb()
@click.argument("net")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@opt.weights
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/infer"), show_default=True)
@click.option("--mean", metavar="B,G,R", help="Mean subtracted from the pixels; default ImageNet's.")
@click.option("--top-k", type=int, default=5, show_default=True, help="Classes to print, for classifiers.")
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@opt.device
@opt.precision
def command(
    net: str,
    images: tuple[Path, ...],
    weights: tuple[str, ...],
    out: Path,
    mean: str | None,
    top_k: int,
    labels: Path | None,
    device: str,
    precision: str,
) -> None:
    """Run a net on pictures of any size.

    A segmentation net writes a label PNG (palette of PASCAL VOC) and an overlay per picture into --out;
    a classifier prints its best classes. Under torchrun the processes share the pictures.

    Example: netspec infer prototxt/voc-fcn8s/deploy.prototxt --weights fcn8s-heavy-pascal.caffemodel street.jpg
    """
    from netspec.data.pixels import rgb
    from netspec.frozen import freeze
    from netspec.pipeline import load
    from netspec.segmentation.infer import ILSVRC_MEAN, runner
    from netspec.solver.parallel import Ranks, joined

    missing = [str(p) for p in images if not p.is_file()]
    if missing:
        raise SpecError("no such picture", Loc(missing[0]))
    files = opt.read_weights(weights)
    numbers = read_mean(mean) if mean else ILSVRC_MEAN
    names = labels.read_text(encoding="utf-8").splitlines() if labels else None
    with joined(opt.read_device(device)) as place:
        ranks = Ranks(place)
        run = runner(freeze(load(net, files).to(place), precision))
        show = write_segmentation if run.segments else print_classes
        for path in images[ranks.rank :: ranks.world]:
            show(run, path, rgb(path), numbers, out, top_k, names)


def write_segmentation(
    run: Runner, path: Path, image: np.ndarray, mean: Mean, out: Path, top_k: int, names: list[str] | None
) -> None:
    """Label PNG and overlay of one picture."""
    from netspec.segmentation.infer import segment
    from netspec.segmentation.overlay import overlay
    from netspec.segmentation.palette import class_names, to_palette_png

    out.mkdir(parents=True, exist_ok=True)
    classes = run.net.blob_shapes[run.net.blob(run.output)][1]
    known = names or list(class_names(classes))
    label = segment(run, image, mean)
    to_palette_png(label, out / f"{path.stem}.png")
    overlay(image, label, known).save(out / f"{path.stem}_overlay.png")
    shares = sorted(((label == k).mean(), k) for k in set(label.ravel().tolist()))[::-1]
    click.echo(f"{path}: {', '.join(f'{known[k]} {share:.0%}' for share, k in shares[:6])}")
    click.echo(f"  {out / path.stem}.png, {out / path.stem}_overlay.png")


def print_classes(
    run: Runner, path: Path, image: np.ndarray, mean: Mean, out: Path, top_k: int, names: list[str] | None
) -> None:
    """The best classes of one picture."""
    from netspec.segmentation.infer import top_classes

    click.echo(str(path))
    for index, score in top_classes(run, image, mean, top_k):
        click.echo(f"  {score:8.4f}  {names[index] if names and index < len(names) else f'class {index}'}")


def read_mean(text: str) -> Mean:
    """`104,117,123` -> three numbers."""
    try:
        blue, green, red = (float(v) for v in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not three numbers B,G,R", param_hint="--mean") from None
    return (blue, green, red)
