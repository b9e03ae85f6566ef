"""netspec score: segmentation scores of a net over its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.errors import SpecError

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.segmentation.together import Batch
    from netspec.solver.parallel import Ranks
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
@opt.backend
@opt.no_pass
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
    backend: str,
    no_pass: tuple[str, ...],
) -> None:
    """Score a net on its own data: pixel acc., mean acc., mean IU, f.w. IU, IU of every class.

    Under torchrun the processes share the data.

    Example: netspec score prototxt/voc-fcn8s/val.prototxt --weights fcn8s-heavy-pascal.caffemodel --data-root ~/voc
    """
    from netspec.layers import Context
    from netspec.pipeline import load
    from netspec.solver.parallel import Ranks, joined
    from netspec.solver.scoring import Scorer

    files = opt.read_weights(weights)
    opt.make_folder(save)
    opt.check_target(json_file)
    with joined(opt.read_device(device)) as place:
        opt.quieten_other_ranks()
        ranks = Ranks(place)
        context = Context(
            folder=Path(net).parent,
            data_root=data_root,
            sample=sample,
            no_pass=frozenset(no_pass),
            **ranks.context(),
        )
        model = load(net, files, context=context).to(place)
        scorer = Scorer.of(model)
        if scorer is None:
            raise SpecError(f"{net} has nothing to score: no SoftmaxWithLoss over an image")
        model = opt.for_inference(model, backend, precision)
        run_batches(model, scorer, ranks, iterations or split_length(model), save)
        results = scorer.scores(ranks)
        if ranks.writes:
            report(results, json_file)


def report(results: dict[str, dict[str, Any]], json_file: Path | None) -> None:
    """Prints the scores, and writes them where asked."""
    from rich.console import Console

    from netspec.cli import _scores
    from netspec.solver.log import plain
    from netspec.spec.binary import replacing

    console = Console(soft_wrap=True)
    for name, scores in results.items():
        console.print(f"{name}: {_scores.line(scores)}")
        _scores.table(console, scores)
    if json_file:
        with replacing(json_file) as path:
            path.write_text(json.dumps(plain(results), indent=1, allow_nan=False), encoding="utf-8")


def split_length(model: Net) -> int:
    """The number of items of the net's data set."""
    for _, layer in model.data_layers():
        dataset = getattr(layer.source(), "dataset", None)
        if dataset is not None:
            return len(dataset)
    raise SpecError("the length of the net's data is not known: give --iterations N")


def run_batches(model: Net, scorer: Scorer, ranks: Ranks, batches: int, save: Path | None) -> None:
    """Runs the net over this rank's part of the batches, counts, and writes the predictions where asked."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from netspec.segmentation import together
    from netspec.segmentation.infer import WINDOW, room
    from netspec.segmentation.palette import to_palette_png

    console = Console(stderr=True)
    most = room(model)
    mine = [number for number in ranks.share(batches) if number is not None]
    with torch.inference_mode():
        made = together.run(model, scorer.blobs, mine, WINDOW * most, most)
        shown = console.is_terminal and ranks.writes
        for batch, values in track(
            made, "scoring", total=len(mine), console=console, disable=not shown, transient=True
        ):
            scorer.see(values)
            if save:
                best = values[scorer.pairs[0].score].argmax(1).cpu().numpy()
                for name, label in zip(item_names(batch, len(best)), best, strict=True):
                    to_palette_png(label, save / f"{name}.png")


def item_names(batch: Batch, size: int) -> list[str]:
    """The id of the item, which the published data layers know, as a file's name; else the items' numbers."""
    return [batch.id.replace("/", "_")] if batch.id else [f"{batch.number * size + i:06d}" for i in range(size)]
