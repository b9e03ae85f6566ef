"""Scene -> PNG, painted with Pillow: lines at three times the size, scaled down, then the texts.

A picture that would have more than `MOST` pixels is painted smaller.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from netspec.draw.scene import ARROW, Head, Rect, Scene, Step, Text, Way
from netspec.draw.svg import STYLES, Theme
from netspec.draw.theme import LIGHT

MOST = 60e6
FINE = 3
ARROW_TEXT = "→"
# The part of a text that stands before its x.
BEFORE = {"start": 0.0, "middle": 0.5, "end": 1.0}
LETTERS = {*map(chr, range(32, 127)), "…", "·"}
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


def png(scene: Scene, path: Path, theme: Theme = LIGHT, scale: float = 2.0, palette: bool = False) -> None:
    """Writes the picture, `scale` pixels for one of the scene; with `palette` in 256 colours, slower and smaller."""
    image = paint(scene, theme, scale)
    if palette:
        image = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(path, format="PNG", optimize=palette)


def paint(scene: Scene, theme: Theme = LIGHT, scale: float = 2.0) -> Image.Image:
    """The picture as an image."""
    scale = min(scale, (MOST / (scene.width * scene.height)) ** 0.5)
    size = (max(1, round(scene.width * scale)), max(1, round(scene.height * scale)))
    fine = FINE if size[0] * size[1] * FINE**2 <= 4 * MOST else 1
    large = Image.new("RGB", (size[0] * fine, size[1] * fine), theme["paper"][0])
    draw = ImageDraw.Draw(large)
    for shape in scene.shapes:
        if isinstance(shape, Rect):
            rect(draw, shape, theme, scale * fine)
        elif isinstance(shape, Way):
            way(draw, shape, theme, scale * fine)
        elif isinstance(shape, Head):
            head(draw, shape, theme, scale * fine)
    image = large.reduce(fine) if fine > 1 else large
    draw = ImageDraw.Draw(image)
    for shape in scene.shapes:
        if isinstance(shape, Text):
            words(draw, shape, theme, scale)
    return image


def rect(draw: ImageDraw.ImageDraw, shape: Rect, theme: Theme, scale: float) -> None:
    fill, line = theme[shape.look]
    box = [v * scale for v in (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)]
    wide = max(1, round((1.8 if shape.heavy else 1.0) * scale))
    if not shape.dashed:
        draw.rounded_rectangle(box, shape.radius * scale, fill, line, wide)
        return
    draw.rounded_rectangle(box, shape.radius * scale, fill)
    corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]), (box[0], box[1])]
    dashed(draw, corners, line, wide, scale)


def way(draw: ImageDraw.ImageDraw, shape: Way, theme: Theme, scale: float) -> None:
    points = [(x * scale, y * scale) for x, y in flattened(shape.steps)]
    wide = max(1, round((1.8 if shape.heavy else 1.2) * scale))
    if shape.dashed:
        dashed(draw, points, theme[shape.look][1], wide, scale)
    else:
        draw.line(points, theme[shape.look][1], wide, joint="curve")


def dashed(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: str, wide: int, scale: float) -> None:
    """A line of dashes of 5 with gaps of 3, which go on around corners."""
    dash, period, along = 5 * scale, 8 * scale, 0.0
    for (ax, ay), (bx, by) in zip(points, points[1:], strict=False):
        length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
        for k in range(int(along // period), int((along + length) // period) + 1):
            start, end = max(k * period - along, 0.0), min(k * period + dash - along, length)
            if start < end:
                (x0, y0), (x1, y1) = ((ax + (bx - ax) * t / length, ay + (by - ay) * t / length) for t in (start, end))
                draw.line((x0, y0, x1, y1), colour, wide)
        along += length


def flattened(steps: tuple[Step, ...]) -> list[tuple[float, float]]:
    """A path as points; a curve becomes 16 pieces."""
    points: list[tuple[float, float]] = []
    for letter, at in steps:
        if letter != "C":
            points.append((at[0], at[1]))
            continue
        (x0, y0), (x1, y1, x2, y2, x3, y3) = points[-1], at
        for k in range(1, 17):
            t = k / 16
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            points.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return points


def head(draw: ImageDraw.ImageDraw, shape: Head, theme: Theme, scale: float) -> None:
    x, y, back = shape.x, shape.y, ARROW if shape.up else -ARROW
    points = [(x, y), (x - 3.5, y + back), (x + 3.5, y + back)]
    draw.polygon([(a * scale, b * scale) for a, b in points], theme[shape.look][1])


def words(draw: ImageDraw.ImageDraw, shape: Text, theme: Theme, scale: float) -> None:
    size, y = shape.size * scale, shape.y * scale
    pieces = [(piece, style) for run, style in shape.runs for piece in re.split(f"({ARROW_TEXT})", run) if piece]
    x = shape.x * scale - BEFORE[shape.anchor] * sum(length(piece, size) for piece, _ in pieces)
    for piece, style in pieces:
        colour = theme[STYLES[style]][1]
        if piece == ARROW_TEXT:
            arrow(draw, x, y, size, colour)
        else:
            letters(draw, (x, y), piece, size, colour, shape.bold, theme["paper"][0] if shape.halo else "")
        x += length(piece, size)


def letters(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], piece: str, size: float, colour: str, bold: bool, halo: str
) -> None:
    """A text from its base line on; bold is the text twice, a little apart."""
    font = font_of(piece, size)
    if halo:
        draw.text(at, piece, halo, font, "ls", stroke_width=round(size / 5), stroke_fill=halo)
    draw.text(at, piece, colour, font, "ls")
    if bold:
        draw.text((at[0] + max(1, round(size * 0.04)), at[1]), piece, colour, font, "ls")


def length(piece: str, size: float) -> float:
    return size if piece == ARROW_TEXT else font_of(piece, size).getlength(piece)


def arrow(draw: ImageDraw.ImageDraw, x: float, y: float, size: float, colour: str) -> None:
    """An arrow to the right, which the font lacks."""
    middle, end, wing = y - size * 0.32, x + size * 0.9, size * 0.2
    wide = max(1, round(size * 0.09))
    draw.line((x + size * 0.1, middle, end, middle), colour, wide)
    draw.line([(end - wing, middle - wing), (end, middle), (end - wing, middle + wing)], colour, wide, joint="curve")


@lru_cache(maxsize=64)
def font_of(piece: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; for letters that it lacks, one of the system's where there is one."""
    if not set(piece) <= LETTERS:
        for name in WIDE_FONTS:
            try:
                return ImageFont.truetype(name, size * 0.92)
            except OSError:
                continue
    return ImageFont.load_default(size)
