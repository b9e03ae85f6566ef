"""Pictures for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from netspec.draw.change import draw_diff
from netspec.draw.net import draw_net
from netspec.draw.picture import Picture
from netspec.ir.diff import compare
from netspec.ir.lower import lower
from netspec.passes.summary import summary
from netspec.pipeline import load_graph
from netspec.spec.text import parse

PROTOTXT = Path(__file__).parents[2] / "prototxt"
EVIL = '<script>alert("1")</script>'
SMALL = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 8 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: '{EVIL}' type: "Convolution" bottom: "conv" top: "a"
  convolution_param {{ num_output: 4 kernel_size: 1 }} }}
layer {{ name: "tanh" type: "TanH" bottom: "a" top: "b" }}
layer {{ name: "sum" type: "Eltwise" bottom: "conv" bottom: "b" top: "sum" }}
layer {{ name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param {{ kernel_size: 2 stride: 2 }} }}
"""


def published(path: str, phase: str = "TRAIN") -> Picture:
    """A net of prototxt/."""
    graph = load_graph(PROTOTXT / path, phase)
    return draw_net(graph, summary(graph))


def small(source: str = SMALL) -> Picture:
    """A net from text, with shapes."""
    graph = lower(parse(source, "small.prototxt"), "TRAIN")
    return draw_net(graph, summary(graph))


def difference(a: str, b: str) -> Picture:
    """Two nets of prototxt/."""
    return draw_diff(compare(*(load_graph(PROTOTXT / path) for path in (a, b))))


def titled(picture: Picture) -> dict[str, int]:
    """Positions of boxes by title."""
    return {box.title: n for n, box in enumerate(picture.boxes)}
