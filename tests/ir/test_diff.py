"""diff: what is found, what counts as the same, and what must hold for any two nets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_nets import edits, graph_of, nets

from netspec.ir.apply import apply
from netspec.ir.diff import Wire, diff
from netspec.ir.emit import emit_text
from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.spec.text import parse
from netspec.spec.upgrade import upgrade_net

NET = """
layer { name: "data" type: "Input" top: "data" }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } param { lr_mult: 1 } param { lr_mult: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param { num_output: 5 } }
"""


def graph(text: str, phase: str = "TRAIN") -> Graph:
    return lower(upgrade_net(parse(text)), phase)


def brief(a: str, b: str, **options: object) -> list[tuple[object, ...]]:
    """`(kind, layer, field, old, new)` of each change."""
    changes = diff(graph(a), graph(b), **options)  # type: ignore[arg-type]
    return [(c.kind, c.layer, c.field, *(() if c.kind in ("added", "removed") else (c.old, c.new))) for c in changes]


LAYER = 'layer {{ name: "data" type: "Input" top: "data" }} layer {{ name: "x" type: "{}" bottom: "data" top: "x" {} }}'


@pytest.mark.parametrize(
    ("type", "a", "b"),
    [
        ("Convolution", "convolution_param { kernel_size: 3 }", "convolution_param { kernel_h: 3 kernel_w: 3 }"),
        ("Convolution", "convolution_param { kernel_size: 3 }", "convolution_param { kernel_size: 3 kernel_size: 3 }"),
        ("Convolution", "", "convolution_param { pad: 0 stride: 1 dilation: 1 group: 1 bias_term: true }"),
        ("Convolution", "", "convolution_param { pad_h: 0 pad_w: 0 weight_filler { type: 'constant' } }"),
        ("Convolution", "", "param { lr_mult: 1 decay_mult: 1 } param { }"),
        ("Pooling", "pooling_param { stride: 2 }", "pooling_param { stride_h: 2 stride_w: 2 pool: MAX }"),
        ("Concat", "concat_param { concat_dim: 2 }", "concat_param { axis: 2 }"),
        ("Slice", "", "slice_param { slice_dim: 1 }"),
        ("SoftmaxWithLoss", "loss_param { normalize: false }", "loss_param { normalization: BATCH_SIZE }"),
        ("SoftmaxWithLoss", "", "loss_param { normalization: VALID } loss_weight: 1"),
        ("SigmoidCrossEntropyLoss", "", "loss_param { normalization: BATCH_SIZE }"),
        ("ReLU", "", "relu_param { engine: DEFAULT negative_slope: 0 } loss_weight: 0"),
        ("BatchNorm", "", "batch_norm_param { moving_average_fraction: 0.999 }"),
    ],
)
def test_equivalent_spellings(type: str, a: str, b: str) -> None:
    assert brief(LAYER.format(type, a), LAYER.format(type, b)) == []


@pytest.mark.parametrize(
    ("type", "a", "b", "field", "old", "new"),
    [
        ("Convolution", "convolution_param { kernel_size: 3 }", "convolution_param { kernel_h: 3 kernel_w: 5 }",
         "convolution_param.kernel_size", (3,), (3, 5)),
        ("Convolution", "", "convolution_param { stride: 2 }", "convolution_param.stride", (1,), (2,)),
        ("Pooling", "pooling_param { pad: 1 }", "pooling_param { pad_w: 2 }", "pooling_param.pad", 1, (0, 2)),
        ("ReLU", "", "relu_param { engine: CAFFE }", "relu_param.engine", "DEFAULT", "CAFFE"),
        ("ReLU", "", "param { } param { decay_mult: 0 }", "param[1].decay_mult", 1, 0),
        ("ReLU", "", "include { phase: TRAIN }", "include", (), ("phase: TRAIN",)),
        ("SoftmaxWithLoss", "", "loss_param { ignore_label: 255 }", "loss_param.ignore_label", None, 255),
        ("SigmoidCrossEntropyLoss", "", "loss_param { normalization: VALID }",
         "loss_param.normalization", "BATCH_SIZE", "VALID"),
        ("ReLU", "param { name: 'w' }", "param { name: 'v' }", "param[0].name", "w", "v"),
    ],
)  # fmt: skip
def test_changed(type: str, a: str, b: str, field: str, old: object, new: object) -> None:
    assert brief(LAYER.format(type, a), LAYER.format(type, b)) == [("changed", "x", field, old, new)]


def test_v1_equals_its_upgrade() -> None:
    v1 = """layers { name: "data" type: DUMMY_DATA top: "data" }
        layers { name: "x" type: CONVOLUTION bottom: "data" top: "x" blobs_lr: 1 blobs_lr: 2
                 convolution_param { num_output: 2 kernel_size: 3 } }"""
    now = """layer { name: "data" type: "DummyData" top: "data" }
        layer { name: "x" type: "Convolution" bottom: "data" top: "x" param { lr_mult: 1 } param { lr_mult: 2 }
                convolution_param { num_output: 2 kernel_size: 3 stride: 1 } }"""
    assert brief(v1, now) == []


def test_renamed_with_its_blob() -> None:
    b = NET.replace('"pool1"', '"down"')
    assert brief(NET, b) == [("renamed", "down", "", "pool1", "down"), ("tops", "down", "", ("pool1",), ("down",))]


def test_blob_renamed_in_place_follows() -> None:
    changes = diff(graph(NET), graph(NET.replace('"conv1"', '"c"').replace('name: "c"', 'name: "conv1"')))
    assert [(c.kind, c.layer, c.because) for c in changes] == [("tops", "conv1", ()), ("tops", "relu1", ("conv1",))]


def test_what_follows_a_renaming_mirrors() -> None:
    a, b = graph(NET), graph(NET.replace('"conv1"', '"first"'))
    there, back = diff(a, b), diff(b, a)
    assert [c.because for c in there if c.layer == "relu1"] == [("conv1", "first")]
    assert sorted(map(repr, there)) == sorted(repr(c.mirrored()) for c in back)


def test_inserted_layer_explains_the_rewiring() -> None:
    b = NET.replace(
        'layer { name: "fc"', 'layer { name: "drop" type: "Dropout" bottom: "pool1" top: "drop" }\nlayer { name: "fc"'
    )
    b = b.replace('bottom: "pool1" top: "fc"', 'bottom: "drop" top: "fc"')
    added, rewired = diff(graph(NET), graph(b))
    assert (added.kind, added.layer, added.at) == ("added", "drop", (None, 4))
    assert (rewired.kind, rewired.old, rewired.new) == ("rewired", (Wire("pool1", "pool1"),), (Wire("drop", "drop"),))
    assert rewired.because == ("drop",)


def test_removed_in_place_layer() -> None:
    b = "\n".join(line for line in NET.splitlines() if "relu1" not in line)
    removed, rewired = diff(graph(NET), graph(b))
    assert (removed.kind, removed.layer) == ("removed", "relu1")
    assert (rewired.old, rewired.new) == ((Wire("conv1", "relu1"),), (Wire("conv1", "conv1"),))


def test_in_place_equals_not_in_place_as_dataflow() -> None:
    b = NET.replace('bottom: "conv1" top: "conv1" }', 'bottom: "conv1" top: "r" }').replace(
        'bottom: "conv1" top: "pool1"', 'bottom: "r" top: "pool1"')  # fmt: skip
    assert brief(NET, b) == [("tops", "relu1", "", ("conv1",), ("r",))]
    assert brief(NET, b, dataflow=True) == []


def test_moved_alone() -> None:
    lines = NET.strip().splitlines()
    branch = 'layer { name: "t" type: "TanH" bottom: "data" top: "t" }'
    assert brief("\n".join([*lines, branch]), "\n".join([lines[0], branch, *lines[1:]])) == [("moved", "t", "", 5, 1)]


def test_type_changed_under_one_name() -> None:
    b = NET.replace('"ReLU"', '"Sigmoid"')
    assert brief(NET, b) == [("changed", "relu1", "type", "ReLU", "Sigmoid")]


def test_net_settings() -> None:
    assert brief(NET, 'name: "n" force_backward: true' + NET) == [
        ("net", "", "name", "", "n"), ("net", "", "force_backward", False, True)]  # fmt: skip


@pytest.mark.parametrize("ignore", ["lr_mult", "param", "param.lr_mult", "changed", "lr_*"])
def test_ignore(ignore: str) -> None:
    assert brief(NET, NET.replace("lr_mult: 2", "lr_mult: 3"), ignore=[ignore]) == []


def test_all_names_changed() -> None:
    b = NET
    for name in ("conv1", "relu1", "pool1", "fc", "data"):
        b = b.replace(f'"{name}"', f'"net/{name}x"')
    assert {c.kind for c in diff(graph(NET), graph(b))} == {"renamed", "tops"}


def chain(length: int) -> Graph:
    """Layers in a row, TanH and Sigmoid in turn."""
    names = ["data", *(f"l{n}" for n in range(length))]
    lines = [
        f'layer {{ name: "{top}" type: "{("TanH", "Sigmoid")[n % 2]}" bottom: "{bottom}" top: "{top}" }}'
        for n, (bottom, top) in enumerate(pairwise(names))
    ]
    return graph('layer { name: "data" type: "Input" top: "data" }\n' + "\n".join(lines))


def test_a_long_chain_under_other_names() -> None:
    """Nothing tells the layers apart but where they stand."""
    a = chain(2000)
    changes = diff(a, graph(emit_text(a).replace('"l', '"m')))
    assert {c.kind for c in changes} == {"renamed", "tops"}
    assert all(c.at[0] == c.at[1] for c in changes)


@pytest.mark.long
def test_5000_layers_with_edits() -> None:
    a = chain(5000)
    edited = (
        emit_text(a).replace('"l7"', '"seven"').replace('name: "l90"\n  type: "TanH"', 'name: "l90"\n  type: "ReLU"')
    )
    assert [c.kind for c in diff(a, graph(edited))] == ["renamed", "tops", "changed"]


EASY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@EASY
@given(nets())
def test_nothing_between_a_net_and_itself(net: object) -> None:
    assert diff(graph_of(net), graph_of(net)) == []


@EASY
@given(st.data())
def test_applying_the_changes_gives_the_other(data: st.DataObject) -> None:
    net = data.draw(nets())
    a, b = graph_of(net), graph_of(data.draw(edits(net, data.draw(st.integers(1, 5)))))
    c = apply(diff(a, b), a)
    assert diff(c, b) == [] and diff(b, c) == []
    assert emit_text(c) == emit_text(apply([], b))


@EASY
@given(nets(), nets())
def test_applying_between_unrelated_nets(one: object, other: object) -> None:
    a, b = graph_of(one), graph_of(other)
    assert emit_text(apply(diff(a, b), a)) == emit_text(apply([], b))


@EASY
@given(st.data())
def test_swapping_mirrors(data: st.DataObject) -> None:
    net = data.draw(nets())
    a, b = graph_of(net), graph_of(data.draw(edits(net, data.draw(st.integers(1, 4)))))
    there, back = diff(a, b), [c.mirrored() for c in diff(b, a)]
    key = repr
    assert sorted(map(key, there)) == sorted(map(key, back))


@EASY
@given(st.data())
def test_one_edit_is_one_change(data: st.DataObject) -> None:
    """Besides rewirings and names that follow from it."""
    net = data.draw(nets())
    changes = diff(graph_of(net), graph_of(data.draw(edits(net, 1))))
    assert sum(not c.because for c in changes) == 1


@EASY
@given(st.data())
def test_no_more_changes_than_edits(data: st.DataObject) -> None:
    """Two edits may read as something else, such as a layer renamed and moved where one was removed and one added."""
    net = data.draw(nets())
    count = data.draw(st.integers(2, 4))
    changes = diff(graph_of(net), graph_of(data.draw(edits(net, count))))
    assert sum(not c.because for c in changes) <= 2 * count
