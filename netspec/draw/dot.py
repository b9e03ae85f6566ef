"""Picture -> DOT, for those who have Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.draw.picture import Box, Picture, Wire, plain
from netspec.draw.theme import LIGHT


def dot(picture: Picture) -> str:
    """The picture as a digraph, blocks as clusters."""
    return "\n".join(lines(picture)) + "\n"


def lines(picture: Picture) -> Iterator[str]:
    yield f"digraph {quoted(picture.title)} {{"
    yield f"  label={quoted(f'{picture.title}: {picture.note}')}; labelloc=t; fontname=Helvetica;"
    yield '  node [shape=box style="rounded,filled" fontname=Helvetica fontsize=11 margin="0.15,0.06"];'
    yield "  edge [fontname=Helvetica fontsize=9 arrowsize=0.7];"
    inside = {n for block in picture.blocks for n in block.boxes}
    for n, box in enumerate(picture.boxes):
        if n not in inside:
            yield f"  {node(n, box)}"
    frame = LIGHT["block"][1]
    for b, block in enumerate(picture.blocks):
        yield f"  subgraph cluster_{b} {{ label={quoted(block.title)}; style=rounded; color={quoted(frame)};"
        yield from (f"    {node(n, picture.boxes[n])}" for n in block.boxes)
        yield "  }"
    seen: set[tuple[int, str]] = set()
    for wire in picture.wires:
        yield f"  {edge(wire, (wire.source, wire.blob) not in seen)}"
        seen.add((wire.source, wire.blob))
    yield "}"


def node(n: int, box: Box) -> str:
    fill, line = LIGHT[box.status or box.kind]
    dashed = ' style="rounded,filled,dashed"' if box.status == "removed" else ""
    label = "\n".join(map(plain, box.lines))
    return f"n{n} [label={quoted(label)} fillcolor={quoted(fill)} color={quoted(line)}{dashed}];"


def edge(wire: Wire, labelled: bool) -> str:
    parts = [f"label={quoted(wire.shape)}"] if wire.shape and labelled else []
    if wire.status not in ("", "same"):
        parts.append(f"color={quoted(LIGHT[wire.status][1])} penwidth=1.8")
    if wire.status == "removed":
        parts.append("style=dashed")
    return f"n{wire.source} -> n{wire.target}" + (f" [{' '.join(parts)}]" if parts else "") + ";"


def quoted(text: str) -> str:
    """A DOT string; nothing in it is an escape but the ends of lines."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
