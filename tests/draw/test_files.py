"""Pictures as files: each form is what it should be, and no name gets out of its place."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from nets_drawn import EVIL, difference, published, small
from PIL import Image, ImageDraw

from netspec.draw.dot import dot, quoted
from netspec.draw.files import write
from netspec.draw.html import html
from netspec.draw.png import dashed
from netspec.draw.scene import scene
from netspec.draw.svg import svg
from netspec.draw.theme import DARK
from netspec.errors import SpecError

SPACE = "{http://www.w3.org/2000/svg}"


def test_svg_is_xml_and_names_are_text() -> None:
    tree = ET.fromstring(svg(scene(small())))
    words = ["".join(node.itertext()) for node in tree.iter(f"{SPACE}text")]
    assert EVIL in words and not list(tree.iter(f"{SPACE}script"))
    assert "4x8x8" in words and "Convolution + ReLU" in words


def test_svg_of_a_difference_strikes_no_text(tmp_path: Path) -> None:
    tree = ET.fromstring(svg(scene(difference("voc-fcn32s/train.prototxt", "voc-fcn8s/train.prototxt"), True), DARK))
    spans = ["".join(node.itertext()) for node in tree.iter(f"{SPACE}tspan")]
    assert {"64", "16", " → "} <= set(spans)
    assert any("stroke-dasharray" in node.attrib for node in tree.iter(f"{SPACE}path"))


@pytest.mark.parametrize("dark", [False, True])
def test_png(tmp_path: Path, dark: bool) -> None:
    write({"": small()}, tmp_path / "net.png", dark=dark)
    shapes = scene(small())
    with Image.open(tmp_path / "net.png") as image:
        assert image.size == (round(2 * shapes.width), round(2 * shapes.height))
        assert (image.convert("L").getpixel((2, 2)) < 60) is dark  # type: ignore[operator]
        assert len(image.getcolors(1 << 20) or range(1 << 20)) > 50


@pytest.mark.parametrize("scale", [1.2, 1.7, 3.6])
def test_dashes_at_any_scale(scale: float) -> None:
    """Five on and three off, counted along the way and on around a corner."""
    image = Image.new("L", (round(44 * scale), round(24 * scale)))
    dashed(ImageDraw.Draw(image), [(0, 0), (40 * scale, 0), (40 * scale, 20 * scale)], "white", 1, scale)
    row = [bool(image.getpixel((x, 0))) for x in range(int(40 * scale))]
    assert sum(a and not b for a, b in pairwise(row)) in (4, 5)
    assert 0.6 < sum(row) / len(row) < 0.8 and image.getpixel((round(40 * scale), round(3 * scale)))


def test_letters_the_font_lacks(tmp_path: Path) -> None:
    write({"": small('name: "网 → λ" ' + 'layer { name: "ä" type: "Input" top: "x" }')}, tmp_path / "net.png")
    assert (tmp_path / "net.png").stat().st_size > 1000


def test_dot_quotes() -> None:
    text = dot(small())
    assert text.startswith("digraph ") and text.count("->") == 5 and "subgraph" not in text
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    assert "subgraph cluster_8" in dot(published("googlenet/deploy.prototxt"))


def page_data(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_stands_alone_and_holds_names_in_json() -> None:
    text = html({"TRAIN": small()})
    assert text.startswith("<!DOCTYPE html>") and EVIL not in text
    data = page_data(text)
    titles = [box["lines"][0][0][0] for box in data["pictures"][0]["boxes"]]  # type: ignore[index]
    assert EVIL in titles
    assert not re.search(r'(src|href)=|url\(|@import|https?://(?!www\.w3\.org/2000/svg")', text)
    assert "default-src 'none'" in text


def test_page_title_is_escaped() -> None:
    assert "<title>&lt;b&gt;</title>" in html({"": small()}, "<b>")


def test_suffix(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none of the suffixes \.svg, \.png, \.dot, \.html"):
        write({"": small()}, tmp_path / "net.gif")
    write({"": small()}, tmp_path / "net.SVG")
    assert (tmp_path / "net.SVG").read_text().startswith("<svg")
    assert [p.name for p in tmp_path.iterdir()] == ["net.SVG"]
