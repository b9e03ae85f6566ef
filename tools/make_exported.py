"""Writes docs/exported: what `netspec convert` makes of three nets in PyTorch source, without the weights."""

from __future__ import annotations

import sys
from pathlib import Path

import netspec
from netspec.export.plan import PLAIN, deployed, make_plan
from netspec.export.standalone import make_module
from netspec.layers import Context
from netspec.net import Net

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/exported"
NETS = {
    "fcn8s": ROOT / "prototxt/voc-fcn8s/deploy.prototxt",
    "googlenet": ROOT / "prototxt/googlenet/deploy.prototxt",
    "resnet50": FOLDER / "resnet50.prototxt",
}


def example(name: str) -> str:
    """The source of one net; its weights do not show in it."""
    graph = deployed(netspec.load_graph(NETS[name], "TEST"))
    for spec in graph.layers:
        for settings in ("convolution_param", "inner_product_param"):
            if spec.proto.HasField(settings):
                getattr(spec.proto, settings).weight_filler.type = "constant"
    net = Net(graph, Context(phase="TEST", no_pass=PLAIN))
    return make_module(make_plan(net, name=name), None).text(name)


def main() -> None:
    for name in sys.argv[1:] or NETS:
        (FOLDER / f"{name}.py").write_text(example(name), encoding="utf-8")


if __name__ == "__main__":
    main()
