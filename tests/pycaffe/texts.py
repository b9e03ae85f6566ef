"""Small nets for the tests of Caffe's interface."""

from __future__ import annotations


def layer(type: str, name: str, bottom: str = "", top: str = "", settings: str = "") -> str:
    """One layer; bottoms and tops separated by blanks, the top named like the layer unless given."""
    edges = "".join(f' bottom: "{b}"' for b in bottom.split()) + "".join(f' top: "{t}"' for t in (top or name).split())
    return f'layer {{ name: "{name}" type: "{type}"{edges} {settings} }}\n'


def source(name: str = "data", *shape: int) -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    return layer("Input", name, settings=f"input_param {{ shape {{ {dims} }} }}")


def inner(name: str, bottom: str, outputs: int, more: str = "") -> str:
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "constant" value: 0.1 }'
    return layer("InnerProduct", name, bottom, "", f"inner_product_param {{ num_output: {outputs} {filler} }} {more}")


def conv(name: str, bottom: str, outputs: int, settings: str = "kernel_size: 3 pad: 1", more: str = "") -> str:
    filler = 'weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "constant" value: 0.1 }'
    return layer(
        "Convolution", name, bottom, "", f"convolution_param {{ num_output: {outputs} {settings} {filler} }} {more}"
    )


def relu(blob: str) -> str:
    return layer("ReLU", f"relu_{blob}", blob, blob)


REGRESSION = 'name: "regression"\n' + "".join(
    [
        source("data", 4, 3),
        source("label", 4, 2),
        inner("ip1", "data", 5),
        relu("ip1"),
        inner("ip2", "ip1", 2),
        layer("EuclideanLoss", "loss", "ip2 label"),
    ]
)

IMAGES = 'name: "images"\n' + "".join(
    [
        source("data", 1, 3, 12, 10),
        conv("conv1", "data", 4),
        relu("conv1"),
        layer("Pooling", "pool1", "conv1", "", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"),
        conv("score", "pool1", 2, "kernel_size: 1"),
    ]
)
