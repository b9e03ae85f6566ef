"""netspec time: where a net spends its time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb

if TYPE_CHECKING:
    from netspec.timing import NetTime


@verb()
@click.argument("net")
@opt.shape
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", show_default=True)
@click.option("--iterations", type=click.IntRange(1), default=10, show_default=True)
@opt.precision
@opt.device
@opt.data
def command(
    net: str,
    shape: tuple[str, ...],
    phase: str,
    iterations: int,
    precision: str,
    device: str,
    data_root: Path | None,
    sample: bool,
) -> None:
    """Time every layer of a net, forward and backward.

    Medians over --iterations on random inputs, the whole net, peak memory, and the rate achieved.

    Example: netspec time prototxt/voc-fcn8s/deploy.prototxt --shape data=1x3x375x500 --phase TEST
    """
    import torch

    from netspec.layers import Context
    from netspec.pipeline import load
    from netspec.timing import random_inputs, time_net

    context = Context(folder=Path(net).parent, data_root=data_root, sample=sample)
    model = load(net, phase=phase, context=context, shapes=opt.read_shapes(shape)).to(opt.read_device(device))
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        print_times(time_net(model, random_inputs(model), iterations))


def print_times(times: NetTime) -> None:
    """A row per layer, then the net."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("layer")
    table.add_column("type")
    for title in ("forward ms", "backward ms"):
        table.add_column(title, justify="right")
    table.add_column("GMAC", justify="right")
    table.add_column("GMAC/s forward", justify="right")
    for row in times.layers:
        rate = f"{row.macs / row.forward / 1e6:.1f}" if row.macs and row.forward else ""
        macs = f"{row.macs / 1e9:.3f}" if row.macs else ""
        table.add_row(row.name, row.type, f"{row.forward:.3f}", f"{row.backward:.3f}", macs, rate)
    console = Console()
    console.print(table)
    macs = sum(row.macs for row in times.layers)
    console.print(
        f"net: forward {times.forward:.2f} ms, backward {times.backward:.2f} ms, {macs / 1e9:.3f} GMAC "
        f"({macs / times.forward / 1e6:.1f} GMAC/s forward), peak memory {times.peak:.0f} MiB"
    )
