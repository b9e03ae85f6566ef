"""The load report as a table: what was loaded, what is missing, unexpected or of another shape, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from netspec.weights.report import LoadReport


def print_report(report: LoadReport, verbose: bool = False) -> None:
    """A row per layer that was not loaded (with `verbose` of every layer), and the counts."""
    rows = [
        (m.layer, f"blob {m.index}: another shape", shown(m.file), shown(m.net), m.cause) for m in report.wrong_shape
    ]
    rows += [(name, "missing", "-", "", "in the net, not in the file") for name in report.missing]
    rows += [(name, "unexpected", "", "-", "in the file, not in the net") for name in report.unexpected]
    if verbose:
        for name, blobs in report.loaded.items():
            shapes = ", ".join("shared" if b is None else shown(b.shape) for b in blobs)
            rows.append((name, "loaded", shapes, shapes, ""))
    console = Console(stderr=True)
    if rows:
        table = Table(box=None, header_style="bold")
        for title in ("layer", "", "file", "net", "likely cause"):
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    wrong = len({m.layer for m in report.wrong_shape})
    console.print(
        f"loaded {len(report.loaded)} layers, missing {len(report.missing)}, "
        f"unexpected {len(report.unexpected)}, of another shape {wrong}",
        highlight=False,
    )


def shown(shape: tuple[int, ...] | None) -> str:
    """3 x 64 x 3 x 3."""
    if shape is None:
        return "none"
    return " x ".join(map(str, shape)) or "one value"
