"""Random nets and random edits of them, for properties that must hold for any."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from netspec import schema
from netspec.errors import SpecError
from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.spec.text import dump, parse

TYPES = ("Convolution", "Pooling", "ReLU", "Eltwise", "InnerProduct", "Sigmoid")


def graph_of(net: Any) -> Graph:
    return lower(parse(dump(net)))


@st.composite
def nets(draw: st.DrawFn, most: int = 14) -> Any:
    """A net of layers that each read one or two earlier blobs, some in place."""
    net = schema.new("NetParameter", name="net")
    net.layer.add(name="data", type="Input", top=["data", "label"])
    blobs = ["data"]
    for n in range(draw(st.integers(3, most))):
        kind = draw(st.sampled_from(TYPES))
        bottoms = [blobs[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(blobs))]
        if kind == "Eltwise":
            bottoms.append(draw(st.sampled_from(blobs)))
            assume(len(set(bottoms)) == 2)
        inplace = kind == "ReLU" and bottoms[0] == blobs[-1] and bottoms[0] != "data" and draw(st.booleans())
        name = f"{kind.lower()}{n}"
        layer = net.layer.add(name=name, type=kind, bottom=bottoms, top=[bottoms[0] if inplace else name])
        settings(draw, layer)
        if not inplace:
            blobs.append(name)
    assume(valid(net))
    return net


def settings(draw: st.DrawFn, layer: Any) -> None:
    if layer.type == "Convolution":
        layer.convolution_param.num_output = draw(st.integers(1, 4))
        layer.convolution_param.kernel_size.append(draw(st.sampled_from([1, 3, 5])))
        layer.param.add(lr_mult=draw(st.sampled_from([0, 1, 2])))
    elif layer.type == "Pooling":
        layer.pooling_param.kernel_size = draw(st.integers(2, 3))
    elif layer.type == "InnerProduct":
        layer.inner_product_param.num_output = draw(st.integers(1, 4))


def valid(net: Any) -> bool:
    try:
        graph_of(net)
    except SpecError:
        return False
    return True


@st.composite
def edits(draw: st.DrawFn, net: Any, count: int) -> Any:
    """The net after `count` random edits, each of which leaves it valid."""
    for n in range(count):
        edit = draw(st.sampled_from(EDITS))
        new = copy(net)
        edit(draw, new, n)
        assume(valid(new) and new != net)
        net = new
    return net


def copy(net: Any) -> Any:
    out = type(net)()
    out.CopyFrom(net)
    return out


def pick(draw: st.DrawFn, net: Any) -> tuple[int, Any]:
    assume(len(net.layer) > 1)
    n = draw(st.integers(1, len(net.layer) - 1))
    return n, net.layer[n]


def rename_layer(draw: st.DrawFn, net: Any, n: int) -> None:
    pick(draw, net)[1].name += f"_new{n}"


def rename_blob(draw: st.DrawFn, net: Any, n: int) -> None:
    blob = draw(st.sampled_from(sorted({top for layer in net.layer for top in layer.top})))
    for layer in net.layer:
        for names in (layer.bottom, layer.top):
            names[:] = [f"{b}_new{n}" if b == blob else b for b in names]


def change_field(draw: st.DrawFn, net: Any, n: int) -> None:
    _, layer = pick(draw, net)
    assume(layer.type in ("Convolution", "InnerProduct"))
    param = layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param
    param.num_output += 10


def change_rate(draw: st.DrawFn, net: Any, n: int) -> None:
    _, layer = pick(draw, net)
    assume(layer.param)
    layer.param[0].lr_mult += 3


def insert(draw: st.DrawFn, net: Any, n: int) -> None:
    """A layer between a layer and all its readers; in place, or with a blob of its own."""
    at, before = pick(draw, net)
    assume(before.top)
    new = schema.new("LayerParameter", name=f"new{n}", type=draw(st.sampled_from(["TanH", "ReLU"])))
    blob = before.top[0]
    new.bottom.append(blob)
    new.top.append(blob if draw(st.booleans()) else f"new{n}")
    later = [copy(layer) for layer in net.layer[at + 1 :]]
    for layer in later:
        if new.top[0] != blob:
            layer.bottom[:] = [new.top[0] if b == blob else b for b in layer.bottom]
            layer.top[:] = [new.top[0] if t == blob else t for t in layer.top]
    del net.layer[at + 1 :]
    net.layer.extend([new, *later])


def remove(draw: st.DrawFn, net: Any, n: int) -> None:
    """A layer goes; who read its blob reads its first bottom."""
    at, gone = pick(draw, net)
    top, bottom = gone.top[0], gone.bottom[0]
    overwritten = any(top in other.top for other in net.layer[at + 1 :])
    assume(not overwritten or sum(bottom in other.bottom for other in net.layer) == 1)
    for layer in net.layer[at + 1 :]:
        layer.bottom[:] = [bottom if b == top else b for b in layer.bottom]
        layer.top[:] = [bottom if t == top else t for t in layer.top]
    del net.layer[at]


def rewire(draw: st.DrawFn, net: Any, n: int) -> None:
    at, layer = pick(draw, net)
    layer.bottom[0] = draw(st.sampled_from([t for other in net.layer[:at] for t in other.top]))


def move(draw: st.DrawFn, net: Any, n: int) -> None:
    at, layer = pick(draw, net)
    to = draw(st.integers(1, len(net.layer) - 1))
    moved = copy(layer)
    rest = [copy(other) for i, other in enumerate(net.layer) if i != at]
    del net.layer[:]
    net.layer.extend([*rest[:to], moved, *rest[to:]])


EDITS = (rename_layer, rename_blob, change_field, change_rate, insert, remove, rewire, move)
