"""Published layers by name: their keys, where their folders are looked for, the order, resuming."""

import random
from pathlib import Path

import numpy as np
import pytest

from netspec.data.published import PUBLISHED, is_published, open_published
from netspec.errors import LayerError, SpecError

VOC = ("voc_layers", "VOCSegDataLayer")
MEAN = (104.00699, 116.66877, 122.67892)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.delenv("NETSPEC_DATA", raising=False)


def voc(voc_dir, tops=("data", "label"), more=None, **options):
    params = {"voc_dir": str(voc_dir), "split": "val", "seed": 1337, "mean": MEAN, **(more or {})}
    return open_published(*VOC, repr(params), list(tops), **options)


def ids(source, count):
    out = []
    for _ in range(count):
        source.next()
        out.append(source.id)
    return out


def test_the_five_are_known():
    assert len(PUBLISHED) == 5
    assert is_published(*VOC) and not is_published("voc_layers", "Other")
    with pytest.raises(SpecError, match=r"did you mean 'voc_layers.VOCSegDataLayer'"):
        open_published("voc_layers", "VOCSegDataLyer", "{}", [])


def test_every_layer_opens(voc_dir, sbdd_dir, nyud_dir, siftflow_dir, context_dirs, tmp_path):
    cases = [
        (*VOC, {"voc_dir": str(voc_dir), "mean": MEAN, "split": "val"}, ["data", "label"], [3, 1]),
        ("voc_layers", "SBDDSegDataLayer", {"sbdd_dir": "sbdd", "mean": MEAN, "split": "train"}, ["x", "y"], [3, 1]),
        (
            "nyud_layers",
            "NYUDSegDataLayer",
            {"nyud_dir": "nyud", "tops": ["hha", "depth", "label"], "split": "test"},
            ["data", "d", "label"],
            [3, 1, 1],
        ),
        (
            "siftflow_layers",
            "SIFTFlowSegDataLayer",
            {"siftflow_dir": "../data/sift-flow", "split": "test"},
            ["data", "sem", "geo"],
            [3, 1, 1],
        ),
        (
            "pascalcontext_layers",
            "PASCALContextSegDataLayer",
            {"voc_dir": "pascal", "context_dir": "pascal-context", "split": "val"},
            ["data", "label"],
            [3, 1],
        ),
    ]
    for module, layer, params, tops, channels in cases:
        source = open_published(module, layer, repr(params | {"seed": 1}), tops, root=tmp_path)
        shapes = source.peek_shapes()
        arrays = source.next()
        assert [a.shape for a in arrays] == shapes and [s[1] for s in shapes] == channels
        assert all(a.dtype == np.float32 for a in arrays)
        source.close()


def test_splits_for_testing_go_in_turn(voc_dir):
    assert ids(voc(voc_dir), 5) == ["a1", "b2", "c3", "a1", "b2"]


def test_splits_for_training_are_drawn(voc_dir):
    draw = random.Random(1337)
    expected = [["a1", "b2", "c3"][int(draw.random() * 3)] for _ in range(12)]
    assert ids(voc(voc_dir, more={"split": "train"}), 12) == expected
    assert ids(voc(voc_dir, more={"split": "train", "seed": None}, seed=1337), 12) == expected
    shards = [ids(voc(voc_dir, more={"split": "train"}, rank=r, world=2), 6) for r in range(2)]
    assert [name for pair in zip(*shards, strict=True) for name in pair] == expected
    assert ids(voc(voc_dir, more={"split": "train", "randomize": False}), 4) == ["a1", "b2", "c3", "a1"]


def test_resuming_in_the_middle(voc_dir):
    source = voc(voc_dir, more={"split": "train"})
    ids(source, 5)
    state = source.state()
    expected = ids(source, 9)
    other = voc(voc_dir, more={"split": "train", "seed": 4})
    ids(other, 2)
    other.restore(state)
    assert ids(other, 9) == expected


def test_where_folders_are_looked_for(voc_dir, tmp_path, monkeypatch):
    net = tmp_path / "nets" / "voc-fcn8s"
    net.mkdir(parents=True)
    assert voc("../../pascal/VOC2011", folder=net).id is None
    assert voc("../pascal/VOC2011", folder=net).dataset.ids == ["a1", "b2", "c3"]  # from the current folder
    for path in ("../../data/pascal/VOC2011", "../data/pascal/VOC2011", "pascal/VOC2011"):
        assert len(voc(path, root=tmp_path).dataset) == 3
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path))
    assert len(voc("../../data/pascal/VOC2011").dataset) == 3
    with pytest.raises(SpecError, match="missing"):
        voc("../../pascal/VOC2011", folder=net, root=tmp_path / "elsewhere")


def test_a_missing_data_set_says_what_to_do(tmp_path):
    with pytest.raises(SpecError) as caught:
        voc("../../data/pascal/VOC2011", folder=tmp_path / "nets" / "voc-fcn8s")
    message = caught.value.message
    for part in (
        "PASCAL VOC",
        "'../../data/pascal/VOC2011'",
        "netspec data get voc2011",
        "--data-root DIR",
        "--sample",
    ):
        assert part in message
    assert str(tmp_path / "data" / "pascal" / "VOC2011") in message and "\n" not in message


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no Python literal"),
        ("{'split': ", "no Python literal"),
        ("{'split': open('x')}", "no Python literal"),
        ("__import__('os').system('touch ran')", "no Python literal"),
        ("(" * 5000, "no Python literal"),
        ("[1]", "a list, a dict"),
        ("{" + " " * 20000 + "}", "at most 10000"),
        ("{'voc_dri': 'x'}", r"unknown key 'voc_dri', did you mean 'voc_dir'\?"),
        ("{3: 'x'}", "unknown key 3"),
        ("{'split': 'val', 'voc_dir': 'x'}", "key 'mean' is missing"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3)}", "key 'split' is missing"),
        ("{'voc_dir': 'x', 'mean': (1, 2), 'split': 'val'}", "three numbers"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 1e999), 'split': 'val'}", "three numbers"),
        ("{'voc_dir': 3, 'mean': (1, 2, 3), 'split': 'val'}", "voc_dir is 3, a string"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3), 'split': ''}", "split is '', a string"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3), 'split': 'val', 'seed': 1.5}", "seed is 1.5"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3), 'split': 'val', 'randomize': 'no'}", "randomize is 'no'"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3), 'split': 'val', 'randomize': []}", r"randomize is \[\]"),
        ("{'voc_dir': 'x', 'mean': (1, 2, 3), 'split': 'val', 'classes': 256}", "classes is 256"),
    ],
)
def test_param_strs_that_are_wrong(text, message):
    with pytest.raises(LayerError, match=message) as caught:
        open_published(*VOC, text, ["data", "label"])
    assert caught.value.field == "python_param.param_str"
    assert not Path("ran").exists()


def test_tops_that_do_not_fit(voc_dir):
    with pytest.raises(LayerError, match=r"gives 2 tops \(data, label\), the net has 1"):
        voc(voc_dir, tops=["data"])
    nyud = ("nyud_layers", "NYUDSegDataLayer")
    with pytest.raises(LayerError, match="tops has 'colour', did you mean 'color'"):
        open_published(*nyud, "{'nyud_dir': 'x', 'split': 'test', 'tops': ['colour']}", ["data"])
    with pytest.raises(LayerError, match="a list of color, depth, hha, label"):
        open_published(*nyud, "{'nyud_dir': 'x', 'split': 'test', 'tops': []}", [])


def test_backslashes_in_a_path_are_no_warning():
    with pytest.raises(SpecError, match="missing"):
        open_published(*VOC, r"{'voc_dir': 'C:\data', 'split': 'val', 'mean': (1, 2, 3)}", ["data", "label"])


def test_errors_of_an_item_come_with_it(voc_dir):
    (voc_dir / "JPEGImages" / "b2.jpg").write_bytes(b"broken")
    source = voc(voc_dir)
    source.next()
    with pytest.raises(SpecError, match="b2.jpg cannot be read"):
        source.next()
    source.next()
    assert source.id == "c3"


def test_a_missing_folder_is_told_with_each_place_once(tmp_path):
    with pytest.raises(SpecError) as caught:
        voc("../data/pascal", root=tmp_path / "data")
    looked = str(caught.value).partition("looked for ")[2].partition(")")[0].split(", ")
    assert len(looked) == len(set(looked)) == 2
