"""netspec upgrade: old nets and solvers to today's form."""

from __future__ import annotations

from pathlib import Path

import click

from netspec.cli import verb

BINARY = {".prototxt": False, ".pbtxt": False, ".txt": False, ".caffemodel": True, ".binaryproto": True, ".pb": True}
"""Which suffixes say that a file is in binary form or is not."""


@verb()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.option("--solver/--net", "is_solver", default=None, help="What OLD is; by default its fields tell.")
@click.option(
    "--binary/--text",
    "as_binary",
    default=None,
    help="The form of NEW; by default what its suffix says, else that of OLD.",
)
def command(old: str, new: str, is_solver: bool | None, as_binary: bool | None) -> int:
    """Rewrite a V0 or V1 net, or an old solver, in today's form.

    .prototxt, .pbtxt and .txt are text, .caffemodel, .binaryproto and .pb binary; under another name text stays text
    and binary stays binary. Fields that Caffe calls an error but goes on without are named, and the exit status is 1;
    NEW is written.

    Example: netspec upgrade alexnet_2013.prototxt alexnet.prototxt
    """
    from netspec.spec import binary, text
    from netspec.spec.upgrade import upgrade_net, upgrade_solver

    if as_binary is None:
        as_binary = BINARY.get(Path(new).suffix.lower(), binary_form(old))
    document = read(old, is_solver)
    problems: list = []
    if document.message.DESCRIPTOR.name == "SolverParameter":
        document = upgrade_solver(document)
    else:
        document = upgrade_net(document, problems)
    if as_binary:
        binary.write(new, document.message)
    else:
        with binary.replacing(new) as temporary:
            temporary.write_text(text.dump(document.message), encoding="utf-8", errors="surrogateescape")
    for problem in problems:
        click.echo(str(problem), err=True)
    return 1 if problems else 0


def binary_form(path: str) -> bool:
    """Whether a file is in binary form; a missing one is reported when it is read."""
    from netspec.spec.binary import is_binary

    try:
        with open(path, "rb") as file:
            return is_binary(file.read(4096))
    except OSError:
        return False


def read(path: str, is_solver: bool | None):
    """The file as a net or a solver; where nobody says, as whichever it can be, a net first."""
    from netspec.errors import SpecError
    from netspec.spec import binary

    if is_solver is not None:
        return binary.read_any(path, "SolverParameter" if is_solver else "NetParameter")
    try:
        return binary.read_any(path)
    except SpecError as error:
        try:
            return binary.read_any(path, "SolverParameter")
        except SpecError:
            raise error from None
