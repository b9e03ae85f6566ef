"""insert_splits: names, order, weights, and nothing to do the second time."""

from __future__ import annotations

from pass_nets import input, ip, layer, read

from netspec.passes.insert_splits import insert_splits


def wiring(source: str) -> list[tuple[str, list[str], list[str]]]:
    """The layers after the pass: name, bottoms, tops."""
    graph = insert_splits(read(source))
    assert insert_splits(graph) == graph
    return [(s.name, [b.name for b in s.bottoms], [t.name for t in s.tops]) for s in graph.layers]


def test_every_reader_gets_a_top_of_its_own():
    assert wiring(input("x", 2, 3) + layer("TanH", "a", "x") + layer("Eltwise", "b", "x a")) == [
        ("x", [], ["x"]),
        ("x_x_0_split", ["x"], ["x_x_0_split_0", "x_x_0_split_1"]),
        ("a", ["x_x_0_split_0"], ["a"]),
        ("b", ["x_x_0_split_1", "a"], ["b"]),
    ]


def test_named_after_the_last_writer():
    source = input("x", 2, 3) + ip("c", "x") + layer("ReLU", "r", "c", "c") + layer("Eltwise", "e", "c c")
    assert [name for name, _, _ in wiring(source)] == ["x", "c", "r", "c_r_0_split", "e"]


def test_a_second_top():
    source = input("x", 2, 4) + layer("Slice", "s", "x", "a b") + layer("Eltwise", "e", "b b")
    assert ("b_s_1_split", ["b"], ["b_s_1_split_0", "b_s_1_split_1"]) in wiring(source)


def test_a_written_weight_is_a_reader():
    source = input("x", 2, 3) + input("t", 2, 3) + layer("EuclideanLoss", "l", "x t", None, "loss_weight: 2")
    graph = insert_splits(read(source + layer("Power", "p", "l")))
    loss, split, power = graph.layers[2:]
    assert list(loss.proto.loss_weight) == []
    assert list(split.proto.loss_weight) == [2, 0]
    assert [b.name for b in power.bottoms] == ["l_l_0_split_1"]
    assert insert_splits(read(source)) == read(source)
