"""Pictures -> one HTML page that needs nothing beside it: the plans as JSON, and a viewer that draws them.

The page may run its own script alone, by hash, and load nothing. Names stand in JSON, never in markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any
from xml.sax.saxutils import escape

from netspec.draw import layout
from netspec.draw.layout import Node, Plan, Route
from netspec.draw.picture import Picture
from netspec.draw.theme import DARK, LABEL, LIGHT, LINE, SMALL, STATUSES, TITLE, WORDS

MANY = 60
"""From so many boxes on, blocks are closed at first."""


def html(pictures: Mapping[str, Picture], title: str = "") -> str:
    """A page of one picture, or of several by name, to choose from."""
    script, style = (
        resources.files("netspec.draw").joinpath(name).read_text("utf-8") for name in ("viewer.js", "viewer.css")
    )
    data = {
        "title": title or next(iter(pictures.values())).title,
        "pictures": [{"name": name, **picture_data(picture)} for name, picture in pictures.items()],
        "words": {**WORDS, **STATUSES},
        "sizes": {
            "title": TITLE,
            "small": SMALL,
            "label": LABEL,
            "lines": [LINE[TITLE], LINE[SMALL]],
            "pad": layout.PAD_Y,
            "header": layout.HEADER,
        },
    }
    policy = f"default-src 'none'; img-src data:; style-src {digest(full_style(style))}; script-src {digest(script)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(data['title'])}</title>\n"
        f'<style type="text/css">{full_style(style)}</style>\n</head>\n<body>\n'
        f'<script type="application/json" id="data">{json_text(data)}</script>\n'
        f'<script type="text/javascript">{script}</script>\n</body>\n</html>\n'
    )


def digest(text: str) -> str:
    """What the page's policy calls a script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def json_text(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def full_style(style: str) -> str:
    """The viewer's style with the colours of both themes."""
    light, dark = f"color-scheme:light;{variables(LIGHT)}", f"color-scheme:dark;{variables(DARK)}"
    return (
        f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f":root.light{{{light}}}\n:root.dark{{{dark}}}\n{looks()}{style}"
    )


def variables(theme: Mapping[str, tuple[str, str]]) -> str:
    return "".join(f"--{name}:{fill};--{name}-line:{line};" for name, (fill, line) in theme.items())


def looks() -> str:
    """A class for every look."""
    return "".join(
        f".{name}>rect,.swatch.{name}{{fill:var(--{name});background:var(--{name});"
        f"stroke:var(--{name}-line);border-color:var(--{name}-line)}}\n"
        f"path.{name}{{stroke:var(--{name}-line)}}polygon.{name}{{fill:var(--{name}-line)}}\n"
        for name in LIGHT
    )


def picture_data(picture: Picture) -> dict[str, Any]:
    """A picture and its plan."""
    return {
        "title": picture.title,
        "note": picture.note,
        "facts": picture.facts,
        "legend": list(picture.legend),
        "closed": len(picture.boxes) > MANY or any(box.status for box in picture.boxes),
        "boxes": [
            {
                "lines": [[list(run) for run in line] for line in box.lines],
                "kind": box.kind,
                "status": box.status,
                "layers": list(box.layers),
            }
            for box in picture.boxes
        ],
        "blocks": [
            {"title": b.title, "note": layout.note_lines(b), "like": b.like, "boxes": list(b.boxes)}
            for b in picture.blocks
        ],
        "plan": plan_data(layout.plan(picture)),
    }


def plan_data(plan: Plan) -> dict[str, Any]:
    """A plan; numbers to a tenth of a pixel."""
    nodes = [node_data(node, rank, x) for node, rank, x in zip(plan.nodes, plan.rank, plan.x, strict=True)]
    return {
        "width": near(plan.width),
        "gaps": [near(g) for g in plan.gaps],
        "nodes": nodes,
        "routes": [route_data(r) for r in plan.routes],
    }


def node_data(node: Node, rank: int, x: float) -> dict[str, Any]:
    out = {"rank": rank, "x": near(x), "w": near(node.width), "h": near(node.height)}
    if node.box >= 0:
        out["box"] = node.box
    if node.plan:
        out |= {"block": node.block, "closed": [near(v) for v in node.closed], "plan": plan_data(node.plan)}
    return out


def route_data(route: Route) -> dict[str, Any]:
    out: dict[str, Any] = {"s": route.source, "t": route.target, "a": near(route.start), "b": near(route.end)}
    if route.points:
        out["via"] = [[r, near(x)] for r, x in route.points]
    for key, value in (("blob", route.blob), ("shape", route.shape), ("status", route.status)):
        if value:
            out[key] = value
    if route.backward:
        out["back"] = 1
    if route.left and route.shape:
        out["left"] = 1
    return out


def near(value: float) -> float:
    """To a tenth."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded
