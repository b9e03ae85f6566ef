"""netspec upgrade: old nets and solvers to today's form."""

from __future__ import annotations

from pathlib import Path

import click

from netspec.cli import verb


@verb()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
def command(old: str, new: str) -> None:
    """Rewrite a V0 or V1 net, or an old solver, in today's form.

    Example: netspec upgrade alexnet_2013.prototxt alexnet.prototxt
    """
    from netspec.spec import text
    from netspec.spec.upgrade import upgrade_net

    document = upgrade_net(text.read(old))
    Path(new).write_text(text.dump(document.message), encoding="utf-8")
