"""netspec layers: the layer types known."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from netspec.cli import verb
from netspec.cli._page import page, text

if TYPE_CHECKING:
    from netspec.layers import Layer


@verb()
@click.argument("type", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def command(type: str | None, as_json: bool) -> None:
    """List the layer types, or one type's rule, shapes, blobs and fields with their defaults.

    Example: netspec layers Convolution
    """
    from netspec.layers import catalogue, layer_class

    if type is None:
        types = {name: summary_line(cls) for name, cls in catalogue().items()}
        click.echo(json.dumps(types, indent=2)) if as_json else print_list(types)
        return
    cls = layer_class(type)
    rows = fields(cls)
    if as_json:
        click.echo(
            json.dumps({"type": cls.type, "doc": inspect.getdoc(cls), "counts": counts(cls), "fields": rows}, indent=2)
        )
        return
    print_type(cls, rows)


def summary_line(cls: type[Layer]) -> str:
    """The first line of the docstring: the layer's formula or rule."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def print_list(types: dict[str, str]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, line in types.items():
        table.add_row(text((name, "bold")), text(line))
    page(table)


def print_type(cls: type[Layer], rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    page(text((cls.type, "bold"), f"  {counts(cls)}"), text(""), text(inspect.getdoc(cls) or ""))
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="bold")
    for title in ("field", "type", "default"):
        table.add_column(title)
    for row in rows:
        table.add_row(*(text(row[k]) for k in ("field", "type", "default")))
    page(text(""), text((f"{cls.settings} {{ … }}", "bold")), table)


def counts(cls: type[Layer]) -> str:
    """How many bottoms and tops a type takes."""
    return ", ".join(count(word, *ends) for word, ends in (("bottom", cls.bottoms), ("top", cls.tops)))


def count(word: str, least: int, most: int | None) -> str:
    between = "or" if most == least + 1 else "to"
    n = f"{least} or more" if most is None else str(least) if least == most else f"{least} {between} {most}"
    return f"{n} {word}{'' if least == most == 1 else 's'}"


def fields(cls: type[Layer]) -> list[dict[str, Any]]:
    """The type's own fields, as the schema has them."""
    from netspec import schema
    from netspec.spec.text import is_repeated

    if not cls.settings:
        return []
    message = getattr(schema.new("LayerParameter"), cls.settings)
    return [
        {
            "field": d.name,
            "type": ("repeated " if is_repeated(d) else "") + field_type(d),
            "default": default_text(message, d),
        }
        for d in message.DESCRIPTOR.fields
    ]


def field_type(descriptor: Any) -> str:
    """A scalar's name, an enum's values, or a message's name."""
    from google.protobuf.descriptor import FieldDescriptor

    if descriptor.enum_type is not None:
        return " | ".join(v.name for v in descriptor.enum_type.values)
    if descriptor.message_type is not None:
        return descriptor.message_type.name
    names = {getattr(FieldDescriptor, n): n[5:].lower() for n in dir(FieldDescriptor) if n.startswith("TYPE_")}
    return names[descriptor.type]


def default_text(message: Any, descriptor: Any) -> str:
    """The schema's default as it would be written; empty where it has none."""
    from netspec.spec.text import scalar_text

    return scalar_text(descriptor, getattr(message, descriptor.name)) if descriptor.has_default_value else ""
