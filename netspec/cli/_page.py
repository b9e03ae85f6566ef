"""Output for people: colours and wrapping on a terminal, plain unwrapped lines otherwise."""

from __future__ import annotations

import io

import click
from rich.console import Console, RenderableType
from rich.text import Text

from netspec.ir.words import dims, number, shown

__all__ = ["dims", "fits", "number", "page", "printed_html", "shown", "text"]

PLAIN_WIDTH = 4000


def text(*parts: str | tuple[str, str] | Text) -> Text:
    """Pieces, each plain or `(text, style)`."""
    return Text.assemble(*parts)


def page(*renderables: RenderableType) -> None:
    """Prints tables and texts."""
    console = Console(highlight=False, soft_wrap=False)
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    buffer = io.StringIO()
    plain = Console(file=buffer, width=PLAIN_WIDTH, highlight=False, color_system=None)
    plain.print(*renderables, sep="\n")
    click.echo("\n".join(line.rstrip() for line in buffer.getvalue().splitlines()))


def fits(renderable: RenderableType) -> bool:
    """Whether the terminal is as wide as this wants to be; a file always is."""
    console = Console()
    return (
        not console.is_terminal
        or console.measure(renderable, options=console.options.update(width=PLAIN_WIDTH)).maximum <= console.width
    )


def printed_html(title: str, *renderables: RenderableType) -> str:
    """The same as a self-contained HTML page."""
    from rich.terminal_theme import MONOKAI

    console = Console(file=io.StringIO(), record=True, width=130, highlight=False, force_terminal=True)
    console.print(*renderables, sep="\n")
    page = console.export_html(theme=MONOKAI, inline_styles=True)
    return page.replace("<head>", f"<head>\n<title>{Text(title).plain.translate(ESCAPES)}</title>", 1)


ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
