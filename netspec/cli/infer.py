"""netspec infer: label maps or classes of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.errors import Loc, SpecError
from netspec.ir.words import counted

if TYPE_CHECKING:
    import numpy as np

    from netspec.segmentation.infer import Runner


@verb()
@click.argument("net")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@opt.weights
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/infer"), show_default=True, help="Folder for pictures."
)
@click.option("--mean", metavar="B,G,R", help="Mean subtracted; default ImageNet's. One number for grey, default 0.")
@click.option(
    "--top-k", type=click.IntRange(1), default=5, show_default=True, help="Classes to print, for classifiers."
)
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@opt.device
@opt.precision
@opt.backend
@opt.no_pass
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
    backend: str,
    no_pass: tuple[str, ...],
) -> int:
    """Run a net on pictures of any size.

    A segmentation net writes a label PNG (palette of PASCAL VOC) and an overlay per picture into --out;
    a classifier prints its best classes. A net of one channel gets the picture in grey. Under torchrun the
    processes share the pictures.

    Example: netspec infer prototxt/voc-fcn8s/deploy.prototxt --weights fcn8s-heavy-pascal.caffemodel street.jpg
    """
    from netspec.layers import Context
    from netspec.pipeline import load
    from netspec.segmentation.infer import infer, runner
    from netspec.solver.parallel import Ranks, joined

    images = tuple(dict.fromkeys(images))
    if missing := [str(p) for p in images if not p.is_file()]:
        raise SpecError("no such picture", Loc(missing[0]))
    files = opt.read_weights(weights)
    context = Context(folder=Path(net).parent, no_pass=frozenset(no_pass))
    check_inputs(net)
    numbers = read_mean(mean, (1, 3)) if mean else None
    names = read_names(labels) if labels else []
    failed = 0
    with joined(opt.read_device(device)) as place:
        ranks = Ranks(place)
        run = runner(opt.for_inference(load(net, files, context=context).to(place), backend, precision))
        if numbers and len(numbers) != run.channels:
            raise SpecError(f"--mean {mean} does not fit the {counted(run.channels, 'channel')} of input '{run.input}'")
        finish = Segments(run, out, names, images) if run.segments else Classes(names, top_k)
        mine = images[ranks.rank :: ranks.world]
        for path, done in zip(mine, infer(run, mine, finish, numbers), strict=True):
            if isinstance(done, SpecError):
                failed, done = failed + 1, done.at(Loc(str(path)))
            click.echo(str(done), err=isinstance(done, SpecError))
    return 1 if failed else 0


def check_inputs(net: str) -> None:
    """Refuses a net that reads its own data, before the data are looked for."""
    from netspec.pipeline import load_graph

    if not load_graph(net, "TEST").inputs:
        raise SpecError("the net takes no input; `netspec deploy` makes one that does from a training net", Loc(net))


def read_names(path: Path) -> list[str]:
    """The lines of a text file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise SpecError(f"cannot read: {getattr(e, 'strerror', None) or 'not UTF-8 text'}", Loc(str(path))) from None


def check_targets(images: Sequence[Path], out: Path) -> None:
    """Refuses two pictures whose results would have one name, and a result in place of a picture."""
    taken = {path.resolve(): path for path in images}
    for path in images:
        for target in targets(path, out):
            other = taken.setdefault(target.resolve(), path)
            if other != path or target.resolve() == path.resolve():
                raise SpecError(f"'{target}' would be written over what '{other}' is or gives", Loc(str(path)))


def targets(path: Path, out: Path) -> tuple[Path, Path]:
    """Where the label map and the overlay of a picture go."""
    return out / f"{path.stem}.png", out / f"{path.stem}_overlay.png"


def name_of(names: Sequence[str], k: int) -> str:
    """A class's name, or its number where the list of names is shorter."""
    return names[k] if k < len(names) else f"class {k}"


class Segments:
    """Writes label PNG and overlay of one picture; the shares of its classes in words."""

    def __init__(self, run: Runner, out: Path, names: Sequence[str], images: Sequence[Path]) -> None:
        from netspec.segmentation.palette import class_names

        check_targets(images, out)
        opt.make_folder(out)
        self.out = out
        self.names = names or list(class_names(run.net.blob_shapes[run.net.blob(run.output)][1]))

    def __call__(self, path: Path, image: np.ndarray, label: np.ndarray) -> str:
        import numpy as np

        from netspec.data.palette import write
        from netspec.segmentation.overlay import overlay
        from netspec.segmentation.palette import to_palette_png

        file, shown = targets(path, self.out)
        try:
            to_palette_png(label, file)
            write(shown, lambda f: overlay(image, label, self.names).save(f, "PNG"))
        except OSError as e:
            raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(file))) from None
        counts = np.bincount(label.ravel())
        best = sorted(((n, k) for k, n in enumerate(counts.tolist()) if n), reverse=True)[:6]
        shares = ", ".join(f"{name_of(self.names, k)} {n / label.size:.0%}" for n, k in best)
        return f"{path}: {shares}\n  {file}, {shown}"


class Classes:
    """The best classes of one picture, in words."""

    def __init__(self, names: Sequence[str], top_k: int) -> None:
        self.names, self.top_k = names, top_k

    def __call__(self, path: Path, image: np.ndarray, scores: np.ndarray) -> str:
        from netspec.segmentation.infer import top_classes

        rows = [f"  {value:8.4f}  {name_of(self.names, k)}" for k, value in top_classes(scores, self.top_k)]
        return "\n".join([str(path), *rows])


def read_mean(text: str, counts: Sequence[int] = (3,)) -> tuple[float, ...]:
    """`104,117,123` -> three numbers; as many as `counts` allows."""
    try:
        numbers = tuple(float(v) for v in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in counts:
        wanted = "three numbers B,G,R" + " or one" * (1 in counts)
        raise click.BadParameter(f"'{text}' is not {wanted}", param_hint="--mean")
    return numbers
