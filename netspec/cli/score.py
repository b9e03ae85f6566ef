"""netspec score: segmentation scores of a net over its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.errors import SpecError

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.solver.scoring import Scorer


@verb()
@click.argument("net", type=click.Path())
@opt.weights
@click.option("--iterations", type=click.IntRange(1), help="Batches to run; the whole split of the data by default.")
@click.option("--save", type=click.Path(path_type=Path), help="Folder for the label PNGs of the predictions.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the scores as JSON.")
@opt.data
@opt.device
@opt.precision
def command(
    net: str,
    weights: tuple[str, ...],
    iterations: int | None,
    save: Path | None,
    json_file: Path | None,
    data_root: Path | None,
    sample: bool,
    device: str,
    precision: str,
) -> None:
    """Score a net on its own data: pixel acc., mean acc., mean IU, f.w. IU, IU of every class.

    Example: netspec score prototxt/voc-fcn8s/val.prototxt --weights fcn8s-heavy-pascal.caffemodel --data-root ~/voc
    """
    from rich.console import Console

    from netspec.cli import _scores
    from netspec.layers import Context
    from netspec.pipeline import load
    from netspec.solver.precision import Precision
    from netspec.solver.scoring import Scorer

    if not weights:
        raise SpecError("a net without weights says nothing: give --weights FILE")
    place = opt.read_device(device)
    context = Context(folder=Path(net).parent, data_root=data_root, sample=sample)
    model = load(net, opt.read_files(weights), context=context).to(place)
    scorer = Scorer.of(model)
    if scorer is None:
        raise SpecError(f"{net} has nothing to score: no SoftmaxWithLoss over an image")
    batches = iterations or split_length(model)
    with Precision(precision, model.device)():
        run_batches(model, scorer, batches, save)
    console = Console(soft_wrap=True)
    results = scorer.scores()
    for name, scores in results.items():
        console.print(f"{name}: {_scores.line(scores)}")
        _scores.table(console, scores)
    if json_file:
        from netspec.spec.binary import replacing

        with replacing(json_file) as path:
            path.write_text(json.dumps(results, indent=1).replace("NaN", "null"), encoding="utf-8")


def split_length(model: Net) -> int:
    """The number of items of the net's data set."""
    for _, layer in model.data_layers():
        dataset = getattr(layer.source(), "dataset", None)
        if dataset is not None:
            return len(dataset)
    raise SpecError("the length of the net's data is not known: give --iterations N")


def run_batches(model: Net, scorer: Scorer, batches: int, save: Path | None) -> None:
    """Runs the net, counts, and writes the predictions where asked."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from netspec.segmentation.palette import to_palette_png

    if save:
        save.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    with torch.inference_mode():
        for number in track(
            range(batches), "scoring", console=console, disable=not console.is_terminal, transient=True
        ):
            values = model.run(scorer.blobs, {})
            scorer.see(values)
            if save:
                best = values[scorer.pairs[0].score].argmax(1)[0].cpu().numpy()
                to_palette_png(best, save / f"{item_name(model, number)}.png")


def item_name(model: Net, number: int) -> str:
    """The id of the item just run, else its number."""
    ids = [getattr(layer.source(), "id", None) for _, layer in model.data_layers()]
    return next((i for i in ids if i), f"{number:06d}")
