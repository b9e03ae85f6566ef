"""Pictures as files, by suffix: .svg .png .dot .html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netspec.draw.picture import Picture
from netspec.errors import SpecError
from netspec.spec.binary import replacing

SUFFIXES = (".svg", ".png", ".dot", ".html")


def write(pictures: Mapping[str, Picture], path: str | Path, closed: bool = False, dark: bool = False) -> None:
    """Writes one picture, or on a page all of them by name. `closed`: blocks stand as one box (a page has a switch)."""
    suffix = check_suffix(path)
    with replacing(path) as temporary:
        if suffix == ".html":
            from netspec.draw.html import html

            temporary.write_text(html(pictures), encoding="utf-8")
            return
        write_one(next(iter(pictures.values())), temporary, suffix, closed, dark)


def write_one(picture: Picture, path: Path, suffix: str, closed: bool, dark: bool) -> None:
    if suffix == ".dot":
        from netspec.draw.dot import dot

        path.write_text(dot(picture), encoding="utf-8")
        return
    from netspec.draw.png import png
    from netspec.draw.scene import scene
    from netspec.draw.svg import svg
    from netspec.draw.theme import DARK, LIGHT

    shapes, theme = scene(picture, closed), DARK if dark else LIGHT
    if suffix == ".svg":
        path.write_text(svg(shapes, theme), encoding="utf-8")
    else:
        png(shapes, path, theme)


def check_suffix(path: str | Path) -> str:
    """The suffix, refused unless a picture can be written so."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SpecError(f"'{path}' has none of the suffixes {', '.join(SUFFIXES)}")
    return suffix
