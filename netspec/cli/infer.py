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
) -> int:
    """Run a net on pictures of any size.

    A segmentation net writes a label PNG (palette of PASCAL VOC) and an overlay per picture into --out;
    a classifier prints its best classes. Under torchrun the processes share the pictures.

    Example: netspec infer prototxt/voc-fcn8s/deploy.prototxt --weights fcn8s-heavy-pascal.caffemodel street.jpg
    """
    from netspec.frozen import freeze
    from netspec.pipeline import load
    from netspec.segmentation.infer import ILSVRC_MEAN, infer, runner
    from netspec.solver.parallel import Ranks, joined

    images = tuple(dict.fromkeys(images))
    if missing := [str(p) for p in images if not p.is_file()]:
        raise SpecError("no such picture", Loc(missing[0]))
    files = opt.read_weights(weights)
    numbers = read_mean(mean) if mean else ILSVRC_MEAN
    names = labels.read_text(encoding="utf-8").splitlines() if labels else None
    failed = 0
    with joined(opt.read_device(device)) as place:
        ranks = Ranks(place)
        run = runner(freeze(load(net, files).to(place), precision))
        finish = Segments(run, out, names, images) if run.segments else Classes(names, top_k)
        for done in infer(run, images[ranks.rank :: ranks.world], finish, numbers):
            failed += isinstance(done, SpecError)
            click.echo(str(done), err=isinstance(done, SpecError))
    return 1 if failed else 0


class Segments:
    """Writes label PNG and overlay of one picture; the shares of its classes in words."""

    def __init__(self, run: Runner, out: Path, names: list[str] | None, images: tuple[Path, ...]) -> None:
        from netspec.segmentation.palette import class_names

        seen: dict[str, Path] = {}
        for path in images:
            if (other := seen.setdefault(path.stem, path)) is not path:
                raise SpecError(f"{path} and {other} would both be written to {out / path.stem}.png")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(out))) from None
        self.out = out
        self.names = names or list(class_names(run.net.blob_shapes[run.net.blob(run.output)][1]))

    def __call__(self, path: Path, image: np.ndarray, label: np.ndarray) -> str:
        import numpy as np

        from netspec.data.palette import write
        from netspec.segmentation.overlay import overlay
        from netspec.segmentation.palette import to_palette_png

        file, shown = self.out / f"{path.stem}.png", self.out / f"{path.stem}_overlay.png"
        try:
            to_palette_png(label, file)
            write(shown, lambda f: overlay(image, label, self.names).save(f, "PNG"))
        except OSError as e:
            raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(file))) from None
        counts = np.bincount(label.ravel())
        best = sorted(((n, k) for k, n in enumerate(counts.tolist()) if n), reverse=True)[:6]
        shares = ", ".join(f"{self.name(k)} {n / label.size:.0%}" for n, k in best)
        return f"{path}: {shares}\n  {file}, {shown}"

    def name(self, k: int) -> str:
        return self.names[k] if k < len(self.names) else f"class {k}"


class Classes:
    """The best classes of one picture, in words."""

    def __init__(self, names: list[str] | None, top_k: int) -> None:
        self.names, self.top_k = names or [], top_k

    def __call__(self, path: Path, image: np.ndarray, scores: np.ndarray) -> str:
        from netspec.segmentation.infer import top_classes

        rows = [f"  {value:8.4f}  {self.name(k)}" for k, value in top_classes(scores, self.top_k)]
        return "\n".join([str(path), *rows])

    def name(self, k: int) -> str:
        return self.names[k] if k < len(self.names) else f"class {k}"


def read_mean(text: str) -> Mean:
    """`104,117,123` -> three numbers."""
    try:
        blue, green, red = (float(v) for v in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not three numbers B,G,R", param_hint="--mean") from None
    return (blue, green, red)
