"""Makes the pictures under docs/img: nets and the difference between two, as SVG and as PNG for slides.

python tools/make_docs.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from netspec.draw.change import draw_diff
from netspec.draw.net import draw_net
from netspec.draw.picture import Picture
from netspec.draw.png import png
from netspec.draw.scene import scene
from netspec.draw.svg import svg
from netspec.ir.diff import compare
from netspec.passes.summary import summary
from netspec.pipeline import load_graph
from netspec.spec.binary import replacing

ROOT = Path(__file__).resolve().parents[1]
SLIDE = 16 / 10


def net(path: str, phase: str = "TRAIN") -> Picture:
    """A net of prototxt/ with its shapes."""
    graph = load_graph(ROOT / "prototxt" / path, phase)
    return draw_net(graph, summary(graph))


def difference(a: str, b: str) -> Picture:
    """Two nets of prototxt/ in one picture."""
    return draw_diff(compare(*(load_graph(ROOT / "prototxt" / path) for path in (a, b))))


def save(name: str, picture: Picture, folder: Path, closed: bool) -> None:
    """Both files of a picture."""
    shapes = scene(picture, closed, SLIDE)
    with replacing(folder / f"{name}.svg") as temporary:
        temporary.write_text(svg(shapes), encoding="utf-8")
    with replacing(folder / f"{name}.png") as temporary:
        png(shapes, temporary, palette=True)
    print(f"{folder / name}.svg, .png")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fcn8s = "voc-fcn8s/train.prototxt"
    save("fcn8s", net(fcn8s), folder, closed=False)
    save("fcn8s-stages", net(fcn8s), folder, closed=True)
    save("googlenet", net("googlenet/deploy.prototxt"), folder, closed=False)
    save("googlenet-blocks", net("googlenet/deploy.prototxt"), folder, closed=True)
    save("fcn32s-to-fcn8s", difference("voc-fcn32s/train.prototxt", fcn8s), folder, closed=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/img")
