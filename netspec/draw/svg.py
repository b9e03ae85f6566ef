"""Scene -> SVG text, which stands alone: no scripts, no files beside it."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from netspec.draw.scene import ARROW, Head, Rect, Scene, Text, Way
from netspec.draw.theme import FONT, LIGHT

Theme = dict[str, tuple[str, str]]
STYLES = {"": "text", "dim": "dim", "old": "removed", "new": "added"}


def svg(scene: Scene, theme: Theme = LIGHT, size: bool = True) -> str:
    """The picture; without `size` it takes the width of where it stands."""
    wide, high = number(scene.width), number(scene.height)
    fixed = f'width="{wide}" height="{high}" ' if size else ""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {fixed}viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label={quoteattr(scene.title)} font-family="{FONT}">',
        f'<rect width="{wide}" height="{high}" fill="{theme["paper"][0]}"/>',
    ]
    for shape in scene.shapes:
        out.append(PAINTERS[type(shape)](shape, theme))
    return "\n".join([*out, "</svg>\n"])


def rect(shape: Rect, theme: Theme) -> str:
    fill, line = theme[shape.look]
    return (
        f'<rect x="{number(shape.x)}" y="{number(shape.y)}" width="{number(shape.width)}" '
        f'height="{number(shape.height)}" rx="{number(shape.radius)}" fill="{fill}" stroke="{line}"'
        f"{weight(shape.heavy)}{dashes(shape.dashed)}/>"
    )


def way(shape: Way, theme: Theme) -> str:
    path = "".join(f"{letter}{' '.join(map(number, at))}" for letter, at in shape.steps)
    line = theme[shape.look][1]
    return f'<path d="{path}" fill="none" stroke="{line}"{weight(shape.heavy, 1.2)}{dashes(shape.dashed)}/>'


def head(shape: Head, theme: Theme) -> str:
    x, y, back = shape.x, shape.y, ARROW if shape.up else -ARROW
    points = ((x, y), (x - 3.5, y + back), (x + 3.5, y + back))
    at = " ".join(f"{number(a)},{number(b)}" for a, b in points)
    return f'<polygon points="{at}" fill="{theme[shape.look][1]}"/>'


def words(shape: Text, theme: Theme) -> str:
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    bold = ' font-weight="600"' if shape.bold else ""
    halo = f' stroke="{theme["paper"][0]}" stroke-width="3" paint-order="stroke"' if shape.halo else ""
    head = f'<text x="{number(shape.x)}" y="{number(shape.y)}" font-size="{number(shape.size)}"'
    if len(shape.runs) == 1:
        run, style = shape.runs[0]
        return f'{head} fill="{ink(style, theme)}"{anchor}{bold}{halo}>{escape(run)}</text>'
    runs = "".join(f'<tspan fill="{ink(style, theme)}">{escape(run)}</tspan>' for run, style in shape.runs)
    return f'{head} xml:space="preserve"{anchor}{bold}{halo}>{runs}</text>'


def ink(style: str, theme: Theme) -> str:
    """The colour of a run of text."""
    return theme[STYLES[style]][1]


def weight(heavy: bool, light: float = 1.0) -> str:
    wide = 1.8 if heavy else light
    return "" if wide == 1 else f' stroke-width="{number(wide)}"'


def dashes(dashed: bool) -> str:
    return ' stroke-dasharray="5 3"' if dashed else ""


def number(value: float) -> str:
    """At most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


PAINTERS = {Rect: rect, Way: way, Head: head, Text: words}
