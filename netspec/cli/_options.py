"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netspec.errors import Loc, SpecError
from netspec.passes import OPTIONAL

if TYPE_CHECKING:
    from netspec.net import Net


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several decorators as one, the first on top."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorate in reversed(decorators):
            function = decorate(function)
        return function

    return apply


device = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
precision = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="bf16: what can bear it is computed in bfloat16.",
)
backend = click.option(
    "--backend",
    type=click.Choice(["torch", "onnxruntime", "openvino"]),
    default="torch",
    show_default=True,
    help="What runs the layers.",
)
no_pass = click.option(
    "--no-pass",
    multiple=True,
    type=click.Choice(OPTIONAL),
    help="Run without what a pass makes faster; repeatable.",
)
shape = click.option("--shape", multiple=True, metavar="BLOB=NxCxHxW", help="Shape of an input blob; repeatable.")


def serve_python(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Lets the nets of this process run Python layers, which may `import caffe`."""
    if wanted:
        from netspec.pycaffe.alias import serve
        from netspec.pycaffe.layer import allow

        serve()
        allow()


places = options(
    click.option("--data-root", type=click.Path(path_type=Path), help="Where relative data paths of the net start."),
    click.option("--sample", is_flag=True, help="Use the embedded sample instead of the net's own data."),
)
data = options(
    places,
    click.option(
        "--allow-python",
        is_flag=True,
        expose_value=False,
        callback=serve_python,
        help="Let nets run Python layers of their own: modules on the Python path.",
    ),
)
weights = click.option(
    "--weights", multiple=True, metavar="FILE[,FILE…]", help="Weights in any known format; later files win."
)


def read_shapes(values: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`data=1x3x500x500` -> {"data": (1, 3, 500, 500)}."""
    out = {}
    for value in values:
        name, _, numbers = value.partition("=")
        try:
            out[name] = tuple(int(n) for n in numbers.split("x"))
        except ValueError:
            raise click.BadParameter(f"'{value}' is not of the form data=1x3x500x500", param_hint="--shape") from None
    return out


def make_folder(path: Path | None) -> None:
    """The folder and those around it, where one is given."""
    try:
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SpecError(f"cannot make the folder: {e.strerror}", Loc(str(path))) from None


def check_target(path: Path | None) -> None:
    """Refuses a file that cannot be written, while there is no work to lose."""
    if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
        reason = "not allowed to" if path.parent.is_dir() else f"no folder '{path.parent}'"
        raise SpecError(f"cannot write: {reason}", Loc(str(path)))


def read_files(values: Iterable[str]) -> list[str]:
    """Repeated and comma-separated file names, in order."""
    return [name for value in values for name in value.split(",") if name]


def read_weights(values: Iterable[str]) -> list[str]:
    """File names, of which there must be one."""
    if not (files := read_files(values)):
        raise SpecError("a net without weights says nothing: give --weights FILE")
    return files


def read_device(name: str) -> str:
    """The device, refused in one line where it is not there."""
    import torch

    try:
        found = torch.device(name)
    except RuntimeError:
        raise SpecError(f"unknown device '{name}'; use cpu, cuda or cuda:N") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SpecError(f"device '{name}' is not there: this PyTorch build or machine has no CUDA")
    return name


def for_inference(net: Net, backend: str, precision: str) -> Net:
    """The net as a back end runs it, without gradients."""
    from netspec.export.engines import engine
    from netspec.frozen import freeze

    return freeze(net, precision) if backend == "torch" else engine(net, backend, precision)


def quieten_other_ranks() -> None:
    """Of the processes torchrun started, the first tells of progress; the others of errors alone."""
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_rank():
        logging.getLogger("netspec").setLevel(logging.ERROR)
