"""netspec time: where a net spends its time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netspec.cli import _options as opt
from netspec.cli import verb
from netspec.cli._page import dims, number, page, text

if TYPE_CHECKING:
    from netspec.layers import Context
    from netspec.net import Net
    from netspec.timing import NetTime

COLUMNS = ("forward ms", "backward ms", "MACs", "GMAC/s forward")


@verb()
@click.argument("net")
@opt.shape
@click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", show_default=True, help="The net's phase."
)
@click.option("--iterations", type=click.IntRange(1), default=10, show_default=True, help="Passes to time.")
@opt.precision
@opt.backend
@opt.device
@opt.data
@opt.no_pass
def command(
    net: str,
    shape: tuple[str, ...],
    phase: str,
    iterations: int,
    precision: str,
    backend: str,
    device: str,
    data_root: Path | None,
    sample: bool,
    no_pass: tuple[str, ...],
) -> None:
    """Time every layer of a net, forward and backward, and the net as a whole.

    Medians over --iterations on random inputs; with --data-root or --sample the net reads its data instead. Layers are
    timed one by one, the net as it really runs: that is less than the sum where passes leave work out. With another
    --backend than torch, the net as a whole alone, forward.

    Example: netspec time prototxt/voc-fcn8s/deploy.prototxt --shape data=1x3x375x500 --phase TEST
    """
    import torch

    from netspec.layers import Context
    from netspec.timing import random_inputs, time_net

    context = Context(folder=Path(net).parent, data_root=data_root, sample=sample, no_pass=frozenset(no_pass))
    model, notes = build(net, phase, context, opt.read_shapes(shape))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    model = model.to(opt.read_device(device))
    if backend != "torch":
        return print_forward(opt.for_inference(model, backend, precision), backend, iterations)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        print_times(time_net(model, random_inputs(model), iterations))


def build(path: str, phase: str, context: Context, shapes: dict[str, tuple[int, ...]]) -> tuple[Net, list[str]]:
    """The net, data layers replaced by inputs unless its data was asked for; and what was assumed."""
    from netspec.net import Net
    from netspec.passes.data_to_input import data_to_input
    from netspec.pipeline import load_graph

    graph = load_graph(path, phase)
    if context.data_root or context.sample:
        return Net(graph, context, shapes), []
    found = data_to_input(graph, shapes)
    notes = [f"{e.loc}: {e.message}; taken for a data layer" for e in found.unknown]
    notes += [f"{b} assumed to be {dims(s)}; --shape {b}=… says otherwise" for b, s in found.assumed.items()]
    return Net(found.graph, context, shapes), notes


def print_times(times: NetTime) -> None:
    """A row per layer, then the net."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column("type", no_wrap=True)
    for title in COLUMNS:
        table.add_column(title, justify="right")
    for row in times.layers:
        macs = (number(row.macs), rate(row.macs, row.forward)) if row.macs else ("", "")
        table.add_row(text(row.name), row.type, f"{row.forward:.3f}", f"{row.backward:.3f}", *macs)
    macs = sum(row.macs for row in times.layers)
    backward = "no loss" if times.backward is None else f"{times.backward:.2f} ms"
    net = f"forward {times.forward:.2f} ms, backward {backward}, {number(macs)} MACs"
    speed = f"{rate(macs, times.forward)} GMAC/s forward, peak memory {times.peak:.0f} MiB"
    page(table, text(""), text(("net: ", "bold"), f"{net}, {speed}"))


def print_forward(net: Net, backend: str, iterations: int) -> None:
    """The net as a whole, run by a back end."""
    import torch

    from netspec.timing import median_ms, peak_mib, random_inputs, time_forward

    inputs = random_inputs(net)
    with torch.inference_mode():
        forward = median_ms([time_forward(net, inputs) for _ in range(iterations + 1)])
    click.echo(f"net: forward {forward:.2f} ms on {backend}, peak memory {peak_mib(net):.0f} MiB")


def rate(macs: int, ms: float) -> str:
    """Milliards of multiply-accumulates a second."""
    return f"{macs / ms / 1e6:.1f}" if ms else ""
