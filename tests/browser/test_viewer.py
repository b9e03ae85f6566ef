"""The page of a net or of a difference, used as a person would: look, click, search, zoom, type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browser.chrome import Chrome
from draw.nets_drawn import EVIL, PROTOTXT, SMALL

from netspec.cli import main

SHIFT = 8
TRANSFORM = "document.getElementById('world').getAttribute('transform')"
ZOOM = f"Number(/scale\\(([\\d.]+)/.exec({TRANSFORM})[1])"
PLACE = f"/translate\\(([-\\d.]+) ([-\\d.]+)/.exec({TRANSFORM}).slice(1).map(Number)"
# Whether any two boxes overlap, and whether any text leaves its box.
OVERLAPS = """(() => {
  const rects = [...document.querySelectorAll('.node')].map((n) => n.querySelector('rect:last-of-type').getBBox());
  return rects.some((a, i) => rects.some((b, j) => j < i && a.x < b.x + b.width && b.x < a.x + a.width
    && a.y < b.y + b.height && b.y < a.y + a.height)); })()"""
SPILLS = """[...document.querySelectorAll('.node')].filter((n) => {
  const r = n.querySelector('rect:last-of-type').getBBox();
  return [...n.querySelectorAll('text')].some((t) => { const b = t.getBBox();
    return b.x < r.x || b.x + b.width > r.x + r.width || b.y < r.y || b.y + b.height > r.y + r.height; }); }).length"""


def page(folder: Path, *arguments: str) -> Path:
    file = folder / "page.html"
    assert main([*arguments, "-o" if arguments[0] == "draw" else "--html", str(file)]) in (0, 1)
    return file


@pytest.fixture(scope="module")
def fcn8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page(tmp_path_factory.mktemp("fcn8"), "draw", str(PROTOTXT / "voc-fcn8s/train.prototxt"))


@pytest.fixture(scope="module")
def googlenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page(tmp_path_factory.mktemp("googlenet"), "draw", str(PROTOTXT / "googlenet/train_val.prototxt"))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nets = [str(PROTOTXT / f"voc-fcn{n}s/train.prototxt") for n in (32, 8)]
    return page(tmp_path_factory.mktemp("story"), "diff", *nets)


def box(name: str) -> str:
    """An expression for the box whose title is `name`."""
    title = "n.querySelector('text').textContent"
    return f"[...document.querySelectorAll('.node')].find((n) => {title} == {json.dumps(name)})"


def select(chrome: Chrome, name: str) -> str:
    """A selector for a box by its title."""
    return f"#{chrome.js(f'{box(name)}.id')}"


def words(chrome: Chrome, selector: str) -> str:
    return chrome.js(f"document.querySelector({json.dumps(selector)}).innerText")


def colours(chrome: Chrome) -> set[Any]:
    return {colour for _, colour in chrome.picture().getcolors(1 << 24) or []}


def test_it_opens_clean_and_draws(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    assert chrome.complaints() == []
    assert chrome.js("document.querySelectorAll('.node').length") == 33 + 5
    assert not chrome.js(OVERLAPS) and chrome.js(SPILLS) == 0
    seen = colours(chrome)
    assert {(228, 241, 230), (230, 238, 250)} <= seen and len(seen) > 50


def test_click_tells_of_a_layer(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    assert chrome.js("document.getElementById('panel').hidden")
    chrome.click(select(chrome, "conv1_1"))
    text = words(chrome, "#panel")
    for part in ("conv1_1", "Convolution, line 14", "1x64x698x698", "841,888,512", "pad", "100", "relu1_1"):
        assert part in text, part
    assert chrome.js("document.querySelectorAll('path.lit').length") == 2
    chrome.click("#panel a")
    assert words(chrome, "#panel h2") == "data"
    chrome.key("Escape")
    assert chrome.js("document.getElementById('panel').hidden")


def test_search(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    chrome.key("/")
    chrome.type("deconv stride")
    assert chrome.js("document.querySelectorAll('#found li').length") == 3
    assert chrome.js("document.querySelectorAll('.node.hit').length") == 3
    chrome.key("Enter")
    assert words(chrome, "#panel h2") == "upscore2"
    x, y = chrome.centre(".node.chosen")
    assert 100 < x < 1100 and 100 < y < 700
    chrome.key("Enter")
    assert words(chrome, "#panel h2") == "upscore_pool4"
    chrome.key("Escape")
    assert chrome.js("document.querySelectorAll('.seeking').length") == 0


def test_search_opens_the_block(chrome: Chrome, googlenet: Path) -> None:
    chrome.open(googlenet)
    assert chrome.js(f"{box('inception_4c/5x5')} === undefined")
    chrome.key("/")
    chrome.type("inception_4c/5x5")
    chrome.key("Enter")
    assert (
        words(chrome, "#panel h2").startswith("inception_4c/5x5")
        and chrome.js("document.querySelectorAll('.chosen').length") == 1
    )


def test_blocks_open_and_close(chrome: Chrome, googlenet: Path) -> None:
    chrome.open(googlenet)
    closed = chrome.js("document.querySelectorAll('.node').length")
    chrome.click(select(chrome, "inception_3a"))
    assert chrome.js("document.querySelectorAll('.node').length") == closed + 8
    assert not chrome.js(OVERLAPS)
    chrome.click(select(chrome, "inception_3a"))
    assert chrome.js("document.querySelectorAll('.node').length") == closed
    chrome.click(select(chrome, "inception_3a"), SHIFT)
    assert chrome.js("document.querySelectorAll('.node').length") == closed + 9 * 8
    chrome.key("o")
    assert not chrome.js(OVERLAPS) and chrome.js(SPILLS) == 0
    chrome.key("c")
    assert chrome.js("document.querySelectorAll('.node').length") == closed


def test_zoom_and_pan(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    before, at = chrome.js(ZOOM), chrome.centre("#box3")
    chrome.wheel(*at, -300)
    assert chrome.js(ZOOM) > before
    assert chrome.centre("#box3") == pytest.approx(at, abs=1)
    chrome.key("-")
    x, y = chrome.js(PLACE)
    chrome.drag((900, 500), (-120, 60))
    assert chrome.js(PLACE) == pytest.approx([x - 120, y + 60], abs=1)
    chrome.key("0")
    assert chrome.js("document.getElementById('world').getBoundingClientRect().height") <= 800


def test_a_drag_is_no_click(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    chrome.drag(chrome.centre("#box1"), (60, 40))
    assert chrome.js("document.getElementById('panel').hidden")


def test_keyboard_alone(chrome: Chrome, fcn8: Path) -> None:
    chrome.open(fcn8)
    chrome.js("document.getElementById('box0').focus()")
    chrome.key("Tab")
    chrome.key("Tab")
    chrome.key("Enter")
    assert words(chrome, "#panel h2") == "conv1_1"
    chrome.key("?")
    assert not chrome.js("document.getElementById('keys').hidden")
    chrome.key("Escape")
    assert chrome.js("document.getElementById('keys').hidden")


def test_dark_and_light(chrome: Chrome, fcn8: Path) -> None:
    chrome.scheme("dark")
    chrome.open(fcn8)
    assert chrome.picture().getpixel((1150, 700)) == (22, 25, 29)
    chrome.key("t")
    assert chrome.picture().getpixel((1150, 700)) == (255, 255, 255)


def test_a_link_to_a_layer(chrome: Chrome, googlenet: Path) -> None:
    chrome.open(googlenet, "#inception_5b%2Foutput")
    assert words(chrome, "#panel h2") == "inception_5b/output"


def test_phases(chrome: Chrome, googlenet: Path) -> None:
    chrome.open(googlenet)
    assert "159 layers" in words(chrome, "#head")
    chrome.click("#tools button:nth-child(2)")
    assert "165 layers" in words(chrome, "#head") and words(chrome, "#tools [aria-pressed=true]") == "TEST"


def test_names_stay_text(chrome: Chrome, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL)
    chrome.open(page(tmp_path, "draw", str(tmp_path / "net.prototxt")))
    assert chrome.complaints() == []
    chrome.click(select(chrome, EVIL))
    assert words(chrome, "#panel h2") == EVIL
    assert chrome.js("document.scripts.length") == 2


def test_difference(chrome: Chrome, story: Path) -> None:
    chrome.open(story)
    assert chrome.complaints() == []
    assert "8 added, 2 changed" in words(chrome, "#panel")
    assert chrome.js("document.querySelectorAll('.node.added').length") == 8
    assert chrome.js("document.querySelectorAll('path.removed').length") == 1
    assert not chrome.js(OVERLAPS) and chrome.js(SPILLS) == 0
    assert {(221, 243, 225), (255, 241, 207)} <= colours(chrome)
    chrome.click("#changes li:nth-child(9)")
    text = words(chrome, "#panel")
    assert "64 → 16" in text and "score_fr → fuse_pool3" in text
    assert chrome.js("getComputedStyle(document.querySelector('#panel .old')).color") == "rgb(207, 74, 67)"


@pytest.mark.long
def test_a_large_net(chrome: Chrome, tmp_path: Path) -> None:
    chain = ['layer { name: "data" type: "Input" top: "b0" }']
    for n in range(350):
        add = f'layer {{ name: "add{n}" type: "Eltwise" bottom: "b{n}" bottom: "c{n}" top: "b{n + 1}" }}'
        chain.append(f'layer {{ name: "conv{n}" type: "Convolution" bottom: "b{n}" top: "c{n}" }} {add}')
    (tmp_path / "net.prototxt").write_text("\n".join(chain))
    chrome.open(page(tmp_path, "draw", str(tmp_path / "net.prototxt")))
    assert "701 layers" in words(chrome, "#head") and chrome.js("document.querySelectorAll('.node').length") == 351
    chrome.key("o")
    assert chrome.js("document.querySelectorAll('.node').length") == 351 + 700
    chrome.key("0")
    assert chrome.js("document.getElementById('world').getBoundingClientRect().height") <= 800
