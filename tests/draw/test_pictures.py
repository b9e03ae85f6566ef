"""Pictures: what becomes a box, a wire, a block, a change, and where all of it stands."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir.random_nets import edits, graph_of, nets
from nets_drawn import EVIL, PROTOTXT, difference, published, small, titled

from netspec.draw import layout
from netspec.draw.change import draw_diff
from netspec.draw.net import draw_net
from netspec.draw.picture import Picture, plain
from netspec.draw.scene import Rect, Scene, Text, Way, scene
from netspec.draw.theme import kind_of, width
from netspec.errors import SpecError
from netspec.ir.diff import compare
from netspec.ir.lower import PHASES, lower
from netspec.pipeline import read_net
from netspec.spec.text import parse

FCN32, FCN8 = (f"voc-fcn{n}s/train.prototxt" for n in (32, 8))
NETS = sorted(str(p.relative_to(PROTOTXT)) for p in PROTOTXT.rglob("*.prototxt"))


def layers_of(picture: Picture) -> list[str]:
    return [layer["name"] for box in picture.boxes for layer in box.layers]


def boxes_of(shapes: Scene) -> list[Rect]:
    """The boxes, without frames, bars and legend."""
    return [s for s in shapes.shapes if isinstance(s, Rect) and s.look != "block" and s.height > 20 and s.radius == 6]


def apart(a: Rect, b: Rect) -> bool:
    across = a.x + a.width <= b.x or b.x + b.width <= a.x
    return across or a.y + a.height <= b.y or b.y + b.height <= a.y


def test_what_follows_in_place_is_in_the_box() -> None:
    picture = small()
    at = titled(picture)
    assert picture.boxes[at["conv"]].types == ("Convolution", "ReLU")
    assert picture.boxes[at[EVIL]].types == ("Convolution", "TanH")
    assert [plain(line) for line in picture.boxes[at["conv"]].lines] == [
        "conv",
        "Convolution + ReLU",
        "4 of 3x3, pad 1",
    ]
    wires = {(w.source, w.target): w for w in picture.wires}
    assert wires[at["conv"], at["sum"]].blob == "conv" and wires[at["conv"], at["sum"]].shape == "4x8x8"
    assert (at[EVIL], at["sum"]) in wires and len(wires) == 5


def test_what_others_read_too_is_not() -> None:
    source = """layer { name: "d" type: "Input" top: "d" }
        layer { name: "a" type: "TanH" bottom: "d" top: "a" } layer { name: "b" type: "ReLU" bottom: "a" top: "b" }
        layer { name: "c" type: "Sigmoid" bottom: "a" top: "c" }"""
    graph = lower(parse(source), "TRAIN")
    assert [b.title for b in draw_net(graph).boxes] == ["d", "a", "b", "c"]


def test_what_is_known_of_a_layer() -> None:
    layer = next(b for b in published(FCN8).boxes if b.title == "fc6").layers[0]
    assert layer["type"] == "Convolution" and layer["bottoms"] == [["pool5", "pool5"]] and layer["line"] > 1
    assert layer["tops"] == [["fc6", "1x4096x16x16"]]
    assert ["kernel_size", "7"] in layer["fields"] and ["num_output", "4096"] in layer["fields"]
    numbers = dict(layer["numbers"])
    assert numbers["parameters"].startswith("102,764,544") and numbers["receptive field"] == "404"


@pytest.mark.parametrize("path", NETS)
def test_every_layer_is_in_one_box_and_boxes_stand_apart(path: str) -> None:
    document = read_net(PROTOTXT / path)
    for phase in PHASES:
        try:
            graph = lower(document, phase)
        except SpecError:  # a net of the other phase alone
            continue
        picture = draw_net(graph)
        assert sorted(layers_of(picture)) == sorted(spec.name for spec in graph.layers)
        assert all(w.source < w.target for w in picture.wires)
        shapes = scene(picture)
        found = boxes_of(shapes)
        assert len(found) >= len(picture.boxes)
        assert all(apart(a, b) for n, a in enumerate(found) for b in found[:n])
        assert all(b.x >= 0 and b.x + b.width <= shapes.width and b.y + b.height <= shapes.height for b in found)


def test_no_text_is_wider_than_its_box() -> None:
    shapes = scene(published("googlenet/train_val.prototxt"))
    found = boxes_of(shapes)
    for text in shapes.shapes:
        if not isinstance(text, Text) or text.anchor != "middle" or text.y < 90:
            continue
        wide = width(plain(text.runs), text.size, text.bold)
        inside = [b for b in found if b.y < text.y < b.y + b.height and b.x < text.x < b.x + b.width]
        assert any(wide <= b.width for b in inside) or not inside


def test_wires_stay_on_the_paper() -> None:
    shapes = scene(published(FCN8))
    for way in shapes.shapes:
        for _, at in way.steps if isinstance(way, Way) else ():
            assert all(0 <= x <= shapes.width for x in at[::2]) and all(0 <= y <= shapes.height for y in at[1::2])


def test_a_tall_net_is_cut_into_columns() -> None:
    picture = published(FCN8)
    wide, tall = scene(picture), scene(picture, aspect=None)
    assert wide.height < tall.height / 2 and 1 < wide.width / wide.height < 2.5


def test_values_that_pass_from_column_to_column_bear_their_names() -> None:
    shapes = scene(difference("voc-fcn32s/train.prototxt", "voc-fcn8s/train.prototxt"), True)
    words = [t.runs[0][0] for t in shapes.shapes if isinstance(t, Text) and t.anchor == "end"]
    assert {"data", "label", "pool3", "score_fr"} <= set(words)


def test_a_shape_stands_where_no_wire_crosses_it() -> None:
    plan = layout.plan(published("googlenet/deploy.prototxt"))
    inner = next(node.plan for node in plan.nodes if node.plan)
    assert inner
    sides = {r.left for r in inner.routes if r.shape and inner.x[r.target] > r.start + 40}
    assert sides == {True}
    assert {r.left for r in inner.routes if r.shape and inner.x[r.target] < r.start - 40} == {False}


def test_repeated_blocks() -> None:
    picture = published("googlenet/deploy.prototxt")
    names = [b.title for b in picture.blocks]
    assert names == [f"inception_{n}" for n in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
    assert {b.like for b in picture.blocks} == {0} and all(b.note.startswith("14 layers") for b in picture.blocks)
    vgg = [b.title for b in published(FCN8).blocks]
    assert vgg == [f"conv{n}_1 … pool{n}" for n in range(1, 6)]
    assert len(boxes_of(scene(picture, closed=True))) < len(boxes_of(scene(picture)))


def test_a_block_is_entered_by_one_value_and_read_at_its_end() -> None:
    for path in ("googlenet/train_val.prototxt", FCN8):
        picture = published(path)
        for block in picture.blocks:
            inside = set(block.boxes)
            assert len({w.source for w in picture.wires if w.target in inside} - inside) == 1
            assert {w.source for w in picture.wires if w.source in inside and w.target not in inside} <= {
                block.boxes[-1]
            }


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("Convolution", "learned"),
        ("Deconvolution", "upsampling"),
        ("SoftmaxWithLoss", "loss"),
        ("ImageData", "data"),
        ("ROIPooling", "pooling"),
        ("BatchNorm", "norm"),
        ("PReLU", "activation"),
        ("Concat", "joining"),
        ("Crop", "other"),
        ("NeverHeardOf", "other"),
    ],
)
def test_kinds(type: str, kind: str) -> None:
    assert kind_of(type) == kind


def test_the_story_of_the_paper() -> None:
    picture = difference(FCN32, FCN8)
    status = {b.title: b.status for b in picture.boxes}
    assert {t for t, s in status.items() if s == "added"} == {
        *("upscore2", "score_pool4", "score_pool4c", "fuse_pool4"),
        *("upscore_pool4", "score_pool3", "score_pool3c", "fuse_pool3"),
    }
    assert status["upscore → upscore8"] == status["score"] == "changed" and status["loss"] == "same"
    at = titled(picture)
    lines = [plain(line) for line in picture.boxes[at["upscore → upscore8"]].lines]
    assert "kernel_size 64 → 16" in lines and "reads score_fr → fuse_pool3" in lines
    wires = {(w.source, w.target): w.status for w in picture.wires}
    assert wires[at["score_fr"], at["upscore → upscore8"]] == "removed"
    assert wires[at["pool3"], at["score_pool3"]] == "added" and wires[at["score"], at["loss"]] == "same"
    assert [b.title for b in picture.blocks] == ["conv1_1 … pool3", "conv4_1 … pool4", "conv5_1 … score_fr"]


def test_numbers_of_changes_are_of_layers() -> None:
    note = difference("googlenet/train_val.prototxt", "googlenet/deploy.prototxt").note
    assert note == "159 → 143 layers · 1 added, 17 removed, 59 changed"


def test_the_same_net_is_one_block() -> None:
    picture = difference(FCN8, FCN8)
    assert {b.status for b in picture.boxes} == {"same"} and "the same" in picture.note
    assert {w.status for w in picture.wires} == {"same"} and len(picture.blocks) == 1


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_difference_can_be_drawn(data: st.DataObject) -> None:
    net = data.draw(nets())
    a, b = graph_of(net), graph_of(data.draw(edits(net, 3)))
    picture = draw_diff(compare(a, b))
    assert set(layers_of(picture)) <= {s.name for g in (a, b) for s in g.layers}
    assert {s.name for s in b.layers} <= set(layers_of(picture))
    found = boxes_of(scene(picture))
    assert all(apart(x, y) for n, x in enumerate(found) for y in found[:n])


def test_titles() -> None:
    assert published(FCN8).title == "voc-fcn8s/train" and published("googlenet/deploy.prototxt").title == "GoogleNet"
