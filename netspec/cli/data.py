"""netspec data: data sets made, measured and downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from netspec.cli import verb

T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Make databases, mean images and sample data; get known data sets and weights.

    Example: netspec data lmdb train.txt images/ train_lmdb
    """


@verb(name="sample")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides the pictures.")
def sample(folder: Path, seed: int) -> None:
    """Write the embedded sample data to DIR in PASCAL VOC's folders.

    Example: netspec data sample out/sample
    """
    from netspec.data.sample import Sample
    from netspec.errors import Loc, SpecError

    try:
        Sample(seed).write(folder)
    except OSError as e:
        raise SpecError(f"cannot write: {e.strerror}", Loc(str(e.filename or folder))) from None


@verb(name="lmdb")
@click.argument("list_file", metavar="LIST", type=click.Path(path_type=Path))
@click.argument("root")
@click.argument("db", type=click.Path(path_type=Path))
@click.option("--gray", is_flag=True, help="One grey channel instead of blue, green, red.")
@click.option("--shuffle", is_flag=True, help="Take the lines in random order.")
@click.option("--seed", type=int, help="Decides the random order; by default the clock does.")
@click.option("--resize-height", type=click.IntRange(min=0), default=0, metavar="N", help="Resize images to N rows.")
@click.option("--resize-width", type=click.IntRange(min=0), default=0, metavar="N", help="Resize images to N columns.")
@click.option("--encoded", is_flag=True, help="Store image files instead of pixels.")
@click.option("--encode-type", default="", metavar="TYPE", help="Store images as jpg, png, ...; implies --encoded.")
@click.option("--check-size", is_flag=True, help="Refuse images of different sizes.")
def make_lmdb(
    list_file: Path,
    root: str,
    db: Path,
    gray: bool,
    shuffle: bool,
    seed: int | None,
    resize_height: int,
    resize_width: int,
    encoded: bool,
    encode_type: str,
    check_size: bool,
) -> None:
    """Make the LMDB database DB of the images that LIST names (`NAME LABEL` a line), found in ROOT.

    The database is the one that Caffe's convert_imageset makes; it appears when it is complete.

    Example: netspec data lmdb train.txt images/ train_lmdb --resize-height 256 --resize-width 256
    """
    from random import Random

    from netspec.data.convert import Conversion, records
    from netspec.data.database import write_database
    from netspec.data.imagelist import read_list

    if bool(resize_height) != bool(resize_width):
        raise click.UsageError("--resize-height and --resize-width go together")
    size = (resize_height, resize_width) if resize_height else None
    conversion = Conversion(root, gray, size, encoded, encode_type.lower())
    lines = read_list(list_file)
    if shuffle:
        Random(seed).shuffle(lines)
    write_database(db, track(records(lines, conversion, check_size), len(lines)))
    click.echo(f"{db}: {len(lines)} records")


@verb(name="mean")
@click.argument("db", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
def make_mean(db: Path, file: Path) -> None:
    """Write the mean image of the LMDB database DB to FILE (.binaryproto), and print the mean of each channel.

    Example: netspec data mean train_lmdb mean.binaryproto
    """
    from netspec.data.convert import mean_image
    from netspec.data.database import open_database
    from netspec.spec import binary

    database = open_database(db)
    blob = mean_image(database, lambda numbers: track(numbers, len(database)))
    binary.write(file, blob)
    area = blob.height * blob.width
    for channel in range(blob.channels):
        values = blob.data[channel * area : (channel + 1) * area]
        click.echo(f"mean_value channel [{channel}]: {sum(values) / area:g}")


def track(items: Iterable[T], total: int) -> Iterable[T]:
    """The items as they come; on a terminal with a bar, the rate and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rate = TaskProgressColumn(text_format="", show_speed=True)
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield from progress.track(items, total)


@verb(name="get")
@click.argument("name", required=False)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), default=Path("."))
@click.option(
    "--mirror", multiple=True, envvar="NETSPEC_MIRROR", metavar="URL", help="Where to look first; repeatable."
)
@click.option(
    "--sources",
    "tables",
    multiple=True,
    envvar="NETSPEC_SOURCES",
    type=click.Path(path_type=Path),
    help="A table of further names; repeatable.",
)
def get(name: str | None, folder: Path, mirror: tuple[str, ...], tables: tuple[Path, ...]) -> None:
    """Download the weights or the data set NAME into DIR; without a name, list what is known.

    A download that broke off goes on where it ended; what has a known hash is checked.

    Example: netspec data get fcn8s-heavy-pascal weights/
    """
    from netspec.data.fetch import digest, fetch, find, sources

    known = sources(tables)
    if name is None:
        width = max(map(len, known))
        for source in known.values():
            click.echo(f"{source.name:{width}}  {source.about}")
        return
    for file in find(name, known).files:
        with byte_bar(file.name) as progress:
            path = fetch(file, folder, mirror, progress)
        algorithm = file.hash[0] if file.hash else "sha256"
        known_hash = "as published" if file.hash else "no hash is known to compare"
        click.echo(f"{path}: {algorithm} {digest(path, algorithm)} ({known_hash})")


@contextmanager
def byte_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """On a terminal a bar of bytes, with the rate and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


for subcommand in (sample, make_lmdb, make_mean, get):
    command.add_command(subcommand)
