"""What the verbs on nets share: reading a net in any form, options of its state, shapes given by the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from netspec.errors import SpecError
from netspec.ir.graph import Graph
from netspec.ir.lower import PHASES, lower
from netspec.spec import binary
from netspec.spec.text import Document, Place
from netspec.spec.upgrade import upgrade_net


def read_net(path: str) -> Document:
    """A net file, text or binary, in today's form; layers of a binary one have the file as their place."""
    document = upgrade_net(binary.read_any(path))
    places = document.place.fields.setdefault("layer", [])
    places += [Place(document.place.loc) for _ in range(len(document.message.layer) - len(places))]
    return document


def state_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--phase, --level and --stage."""
    for option in (
        click.option("--stage", "stages", multiple=True, help="A stage of the net's state; repeatable."),
        click.option("--level", default=0, help="The level of the net's state.", show_default=True),
        click.option(
            "--phase", type=click.Choice(PHASES, case_sensitive=False), metavar="TRAIN|TEST", help="The phase."
        ),
    ):
        function = option(function)
    return function


def in_phases(
    document: Document, phases: Sequence[str], level: int, stages: Sequence[str]
) -> tuple[dict[str, Graph], dict[str, SpecError]]:
    """The graph in each phase it can be built in, and why not in the others; raises if it is in none."""
    graphs, errors = {}, {}
    for phase in phases:
        try:
            graphs[phase] = lower(document, phase, level, stages)
        except SpecError as e:
            errors[phase] = e
    if not graphs:
        raise errors[phases[0]]
    return graphs, errors


def has_phase_rules(document: Document) -> bool:
    """Whether any layer depends on the phase."""
    return any(rule.HasField("phase") for layer in document.message.layer for rule in (*layer.include, *layer.exclude))
