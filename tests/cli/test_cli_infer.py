"""infer and score as commands: what they write and print, and what is at fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec import load
from netspec import weights as stored
from netspec.cli import main
from netspec.segmentation.palette import voc_palette

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }'
SCORE = """layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: CLASSES kernel_size: 1 weight_filler { type: "xavier" } } }"""
POOL = """layer { name: "prob" type: "Pooling" bottom: "score" top: "prob"
  pooling_param { pool: AVE global_pooling: true } }"""
DATA = """layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "voc_layers"
  layer: "VOCSegDataLayer" param_str: "{'split': 'val', 'mean': (0, 0, 0), 'voc_dir': 'none'}" } }"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Nets, weights and pictures; the current folder."""
    score = SCORE.replace("CLASSES", "21")
    (tmp_path / "deploy.prototxt").write_text(INPUT + score)
    (tmp_path / "classify.prototxt").write_text(INPUT + score + POOL)
    (tmp_path / "other.prototxt").write_text(INPUT + score.replace('name: "score"', 'name: "new"'))
    (tmp_path / "five.prototxt").write_text(INPUT + SCORE.replace("CLASSES", "5"))
    (tmp_path / "data.prototxt").write_text(DATA + score + LOSS)
    stored.write(tmp_path / "w.caffemodel", load(tmp_path / "deploy.prototxt").to_model())
    for place, size, mode in (("a", (9, 8), "RGB"), ("b", (7, 5), "L")):
        (tmp_path / place).mkdir()
        pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / place / "x.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a" / "x.png").read_bytes()[:60])
    (tmp_path / "names.txt").write_text("nothing\nplane\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_label_maps_and_overlays_of_pictures_of_any_size(folder, capfd):
    for place, size in (("a", (9, 8)), ("b", (7, 5))):
        arguments = ["infer", "deploy.prototxt", "--weights", "w.caffemodel", f"{place}/x.png", "--out", f"out/{place}"]
        assert main(arguments) == 0
        out, err = capfd.readouterr()
        assert out.startswith(f"{place}/x.png: ") and f"out/{place}/x.png, out/{place}/x_overlay.png" in out
        assert err == ""
        with Image.open(f"out/{place}/x.png") as label:
            assert (label.mode, label.size) == ("P", size)
            colours = label.getpalette()
        assert colours == voc_palette().ravel().tolist()[: len(colours)]
        with Image.open(f"out/{place}/x_overlay.png") as overlay:
            assert overlay.width >= size[0]


def test_names_fewer_than_the_classes(folder, capfd):
    assert main(["infer", "deploy.prototxt", "--weights", "w.caffemodel", "a/x.png", "--labels", "names.txt"]) == 0
    shown = capfd.readouterr().out.splitlines()[0].split(": ")[1].split(", ")
    assert all(word.startswith(("nothing ", "plane ", "class ")) for word in shown)


def test_best_classes_of_a_classifier(folder, capfd):
    arguments = ["infer", "classify.prototxt", "--weights", "w.caffemodel", "a/x.png", "--labels", "names.txt"]
    assert main([*arguments, "--top-k", "3"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "a/x.png" and len(lines) == 4
    values = [float(line.split()[0]) for line in lines[1:]]
    assert values == sorted(values, reverse=True)
    assert not Path("out").exists()


def test_a_net_of_one_channel_sees_grey(folder, capfd):
    net = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 9 } } }
      layer { name: "up" type: "Power" bottom: "data" top: "up" power_param { scale: -1 } }
      layer { name: "map" type: "Concat" bottom: "up" bottom: "data" top: "map" }"""
    (folder / "grey.prototxt").write_text(net)
    with Image.open("a/x.png") as image:
        grey = np.asarray(image.convert("L"))
    assert main(["infer", "grey.prototxt", "--weights", "w.caffemodel", "a/x.png", "--mean", "100"]) == 0
    with Image.open("out/infer/x.png") as label:
        np.testing.assert_array_equal(np.asarray(label), grey > 100)
    assert main(["infer", "grey.prototxt", "--weights", "w.caffemodel", "a/x.png", "--mean", "1,2,3"]) == 1
    assert "--mean 1,2,3 does not fit the 1 channel of input 'data'" in capfd.readouterr().err


def test_layers_without_weights_are_told(folder, caplog):
    assert main(["infer", "other.prototxt", "--weights", "w.caffemodel", "a/x.png"]) == 0
    assert "no weights for 1 layer: what the fillers gave stays (new)" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("deploy.prototxt", 2, "Missing argument 'IMAGES...'"),
        ("deploy.prototxt no.png", 1, "no.png: error: no such picture"),
        ("deploy.prototxt torn.png", 1, "torn.png: error: torn.png cannot be read: "),
        ("deploy.prototxt a/x.png --weights no.caffemodel", 1, "no.caffemodel: error: cannot read: "),
        ("five.prototxt a/x.png", 1, "w.caffemodel: error: 2 blobs of another shape"),
        ("data.prototxt a/x.png", 1, "data.prototxt: error: the net takes no input"),
        ("deploy.prototxt a/x.png b/x.png", 1, "b/x.png: error: 'out/infer/x.png' would be written over"),
        ("deploy.prototxt a/x.png --out a", 1, "a/x.png: error: 'a/x.png' would be written over"),
        ("deploy.prototxt a/x.png --out names.txt", 1, "names.txt: error: cannot make the folder"),
        ("deploy.prototxt a/x.png --labels none", 1, "none: error: cannot read"),
        ("deploy.prototxt a/x.png --labels a/x.png", 1, "a/x.png: error: cannot read: not UTF-8 text"),
        ("deploy.prototxt a/x.png --mean 1,2", 2, "is not three numbers"),
        ("deploy.prototxt a/x.png --top-k 0", 2, "0 is not in the range"),
    ],
)
def test_what_is_at_fault(arguments, status, words, folder, capfd):
    before = Path("a/x.png").read_bytes()
    assert main(["infer", *arguments.split(), "--weights", "w.caffemodel"]) == status
    out, err = capfd.readouterr()
    assert words in err and "Traceback" not in err
    assert out == "" and Path("a/x.png").read_bytes() == before


def test_scores_are_printed_written_and_drawn(folder, capfd):
    arguments = ["score", "data.prototxt", "--weights", "w.caffemodel", "--sample", "--iterations", "2"]
    assert main([*arguments, "--save", "maps", "--json", "scores.json"]) == 0
    out = capfd.readouterr().out
    scores = json.loads(Path("scores.json").read_text())["loss"]
    assert f"mean IU {100 * scores['mean_iu']:.1f}" in out and "background" in out
    assert set(scores) >= {"pixel_acc", "mean_acc", "mean_iu", "fw_iu", "iu"}
    assert sorted(f.name for f in Path("maps").iterdir()) == ["val_0000.png", "val_0001.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("data.prototxt --sample --json none/s.json", "none/s.json: error: cannot write: no folder 'none'"),
        ("data.prototxt --sample --save names.txt", "names.txt: error: cannot make the folder"),
        ("deploy.prototxt", "deploy.prototxt has nothing to score"),
        ("data.prototxt", "data set PASCAL VOC is missing: no folder 'none' (looked for"),
    ],
)
def test_scores_refused(arguments, words, folder, capfd):
    assert main(["score", *arguments.split(), "--weights", "w.caffemodel"]) == 1
    assert words in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["infer", "score"])
def test_weights_are_asked_for(verb, folder, capfd):
    assert main([verb, "data.prototxt", *["a/x.png"] * (verb == "infer")]) == 1
    assert "give --weights FILE" in capfd.readouterr().err
