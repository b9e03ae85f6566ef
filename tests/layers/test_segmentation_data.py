"""ImageSegData and DenseImageData: lists of images and of labels for their pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from netspec.data.pairs import Recipe, nearest
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec.text import parse

SIZES = [(6, 7), (6, 7), (6, 7)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three pictures of 6 x 7 and their labels, one grey, two with a palette; a list of them."""
    pictures, labels = [], []
    for n, size in enumerate(SIZES):
        pictures.append(np.random.randint(0, 256, (*size, 3), dtype=np.uint8))
        labels.append(np.random.randint(0, 4, size, dtype=np.uint8))
        Image.fromarray(pictures[n]).save(tmp_path / f"{n}.png")
        label = Image.fromarray(labels[n])
        if n:
            label = label.convert("P")
            label.putpalette(range(255, -1, -1))
            label.putdata(labels[n].flatten().tolist())
        label.save(tmp_path / f"l{n}.png")
    (tmp_path / "list.txt").write_text("".join(f"{n}.png l{n}.png\n" for n in range(3)) + "\n")
    (tmp_path / "numbers.txt").write_text("0.png 3\n1.png 1\n")
    (tmp_path / "rooted.txt").write_text("/0.png /l0.png\n")
    monkeypatch.chdir(tmp_path)
    return pictures, labels


def net(type: str, settings: str, more: str = "", tops: int = 2, phase: str = "TRAIN", **context) -> Net:
    param = "image_data_param" if type == "ImageSegData" else "dense_image_data_param"
    ends = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'layer {{\n name: "d" type: "{type}" {ends}\n {param} {{ {settings} }}\n {more} }}'
    return Net(lower(parse(text, "net.prototxt"), phase), Context(**context))


LIST = 'source: "list.txt"'
BAD = [
    ("DenseImageData", LIST, "", "batch_size 0 is not in 1"),
    ("DenseImageData", "batch_size: 1", "", "source is missing or empty"),
    ("DenseImageData", f"{LIST} batch_size: 1 new_width: 3", "", "new_width is given without new_height"),
    ("DenseImageData", f"{LIST} batch_size: 1 crop_height: 3", "", "crop_height is given without crop_width"),
    ("DenseImageData", f'{LIST} batch_size: 1 mean_file: "m"', "", "give transform_param.mean_value"),
    ("DenseImageData", f"{LIST} batch_size: 1 label_divide_factor: 0", "", "label_divide_factor must be at least 1"),
    (
        "DenseImageData",
        f"{LIST} batch_size: 1 label_divide_factor: 2 crop_height: 3 crop_width: 3",
        "",
        "label_divide_factor and a crop exclude each other",
    ),
    (
        "DenseImageData",
        f"{LIST} batch_size: 1 crop_height: 3 crop_width: 3",
        "transform_param { crop_size: 2 }",
        "give crop_height and crop_width, or crop_size",
    ),
    ("DenseImageData", f"{LIST} batch_size: 1 crop_height: 9 crop_width: 3", "", "a crop of 9 x 3 exceeds"),
    ("ImageSegData", LIST, 'transform_param { mean_file: "m" }', "mean_file is not supported; give mean_value"),
    ("ImageSegData", LIST, "transform_param { crop_h: 3 }", "give crop_h and crop_w, or neither"),
    ("ImageSegData", LIST, "transform_param { crop_h: 3 crop_w: 3 crop_size: 3 }", "give crop_size, or crop_h and"),
    ("ImageSegData", LIST, "transform_param { scale_factors: [1, 0] }", "scale_factors must be above 0"),
    (
        "ImageSegData",
        f"{LIST} label_type: NONE",
        "transform_param { mean_value: [1, 2] }",
        "2 mean values for 3 channels",
    ),
    ("ImageSegData", f"{LIST} label_type: IMAGE", "", "label 'l0.png' of image '0.png' is no integer"),
    ("ImageSegData", 'source: "numbers.txt" label_type: PIXEL', "", "label '3' is missing"),
    ("ImageSegData", 'source: "absent.txt"', "", "image list 'absent.txt' is missing"),
    ("ImageSegData", LIST, "transform_param { resize_param { height: 3 } }", "resize_param is not honoured"),
]


@pytest.mark.parametrize(("type", "settings", "more", "message"), BAD)
def test_refused(type, settings, more, message, folder):
    with pytest.raises(SpecError) as caught:
        net(type, settings, more)()
    assert message in caught.value.message and f"layer 'd' ({type}): " in caught.value.message
    assert caught.value.loc is not None and caught.value.loc.file == "net.prototxt"


def test_lists_that_are_wrong(folder, tmp_path):
    (tmp_path / "short.txt").write_text("0.png l0.png\n1.png\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(SpecError, match=r"short.txt:2: .*an image and a label are wanted, not '1.png'"):
        net("ImageSegData", 'source: "short.txt" label_type: PIXEL')()
    with pytest.raises(SpecError, match=r"empty.txt: .*the list is empty"):
        net("DenseImageData", 'source: "empty.txt" batch_size: 1')()


@pytest.mark.parametrize(
    ("type", "settings"), [("ImageSegData", "batch_size: 2 label_type: PIXEL"), ("DenseImageData", "batch_size: 2")]
)
def test_values_in_order(type, settings, folder):
    pictures, labels = folder
    built = net(type, f"{LIST} {settings}", "transform_param { mean_value: [1, 2, 3] scale: 0.5 }", phase="TEST")
    assert [tuple(s) for s in built.blob_shapes.values()] == [(2, 3, 6, 7), (2, 1, 6, 7)]
    for order in ([0, 1], [2, 0]):
        data, label = built().values()
        for row, n in enumerate(order):
            bgr = pictures[n][:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
            assert np.array_equal(data[row], (bgr - np.array([1, 2, 3])[:, None, None]) * 0.5)
            assert np.array_equal(label[row, 0], labels[n])


def test_roots_and_grey(folder, tmp_path):
    settings = f'source: "rooted.txt" batch_size: 1 is_color: false root_folder: "{tmp_path}"'
    data, label = net("DenseImageData", settings)().values()
    assert data.shape == (1, 1, 6, 7) and np.array_equal(label[0, 0], folder[1][0])
    settings = f'source: "rooted.txt" batch_size: 1 root_folder_image: "{tmp_path}" root_folder_label: "{tmp_path}"'
    assert net("DenseImageData", settings)()["t0"].shape == (1, 3, 6, 7)


@pytest.mark.parametrize(("label_type", "source", "values"), [("IMAGE", "numbers", [3, 1]), ("NONE", "list", [77, 77])])
def test_labels_that_are_no_files(label_type, source, values, folder):
    settings = f'source: "{source}.txt" batch_size: 2 label_type: {label_type} ignore_label: 77'
    label = net("ImageSegData", settings)()["t1"]
    assert [row.unique().tolist() for row in label] == [[v] for v in values]


def test_a_crop_larger_than_the_image_is_padded(folder):
    more = "transform_param { crop_size: 9 mean_value: 100 }"
    built = net("ImageSegData", f"{LIST} label_type: PIXEL ignore_label: 255", more, tops=3)
    data, label, size = built().values()
    assert data.shape == (1, 3, 9, 9) and label.shape == (1, 1, 9, 9)
    assert not data[:, :, 6:].any() and not data[:, :, :, 7:].any()
    assert (label[:, :, 6:] == 255).all() and (label[:, :, :, 7:] == 255).all()
    assert np.array_equal(label[0, 0, :6, :7], folder[1][0])
    assert size.flatten().tolist() == [6, 7] and size.shape == (1, 1, 1, 2)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_image_and_label_are_cropped_and_mirrored_alike(phase, tmp_path, monkeypatch):
    """The image's blue channel holds the label, so that both must stay the same."""
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    Image.fromarray(np.stack([values * 0, values * 0, values], 2)).save(tmp_path / "x.png")
    Image.fromarray(values).save(tmp_path / "y.png")
    (tmp_path / "list.txt").write_text("x.png y.png\n")
    monkeypatch.chdir(tmp_path)
    more = "transform_param { crop_h: 4 crop_w: 6 mirror: true }"
    for type, settings in (("ImageSegData", "label_type: PIXEL batch_size: 40"), ("DenseImageData", "batch_size: 40")):
        if type == "DenseImageData":
            settings, more = f"{settings} crop_height: 4 crop_width: 6 mirror: true", ""
        data, label = net(type, f"{LIST} {settings}", more, phase=phase, seed=1)().values()
        assert torch.equal(data[:, :1], label)
        starts = {tuple(row[0, 0, [0, -1]].tolist()) for row in label}
        mirrored = {a > b for a, b in starts}
        assert mirrored == {True, False}
        assert (len(starts) > 10) == (phase == "TRAIN")
        if phase == "TEST":
            assert (67.0, 72.0) in starts


def test_zooming(folder):
    more = "transform_param { crop_size: 24 scale_factors: [0.5, 1, 2, 3] }"
    built = net("ImageSegData", f"{LIST} label_type: PIXEL batch_size: 30", more, seed=2)
    label = built()["t1"]
    sizes = {(int((row[0, :, 0] != 255).sum()), int((row[0, 0] != 255).sum())) for row in label}
    assert sizes == {(3, 4), (6, 7), (12, 14), (18, 21)}
    test = net("ImageSegData", f"{LIST} label_type: PIXEL batch_size: 30", more, phase="TEST")()["t1"]
    assert {int((row[0, 0] != 255).sum()) for row in test} == {7}


def test_resizing_and_divided_labels(folder):
    built = net("DenseImageData", f"{LIST} batch_size: 1 new_height: 12 new_width: 14 label_divide_factor: 2")
    data, label = built().values()
    assert data.shape == (1, 3, 12, 14) and np.array_equal(label[0, 0], folder[1][0])


def test_nearest():
    label = np.arange(20).reshape(4, 5)
    assert np.array_equal(nearest(label, (8, 10)), np.kron(label, np.ones((2, 2), int)))
    assert np.array_equal(nearest(label, (2, 2)), label[::2][:, [0, 2]])


def test_sizes_must_agree(folder, tmp_path):
    with pytest.raises(SpecError, match="x is 4 x 5 and its label 5 x 4; they must agree"):
        Recipe()(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4)), "0", "x")
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "l1.png")
    with pytest.raises(SpecError, match="is 3 x 3 x 3, but its batch began with .*0.png of 3 x 6 x 7; a crop"):
        net("DenseImageData", f"{LIST} batch_size: 2")()


@pytest.mark.parametrize(
    ("type", "settings"),
    [
        ("ImageSegData", "shuffle: true rand_skip: 2 label_type: PIXEL batch_size: 2"),
        ("DenseImageData", "shuffle: true rand_skip: 2 batch_size: 2 mirror: true"),
    ],
)
def test_resumed_is_as_never_stopped(type, settings, folder):
    more = "transform_param { crop_size: 5 }"
    whole = net(type, f"{LIST} {settings}", more, seed=3)
    for _ in range(4):
        whole()
    state = json.loads(json.dumps(whole.data_layers()[0][1].source().state()))
    want = [list(whole().values()) for _ in range(4)]
    other = net(type, f"{LIST} {settings}", more, seed=9)
    other()
    other.data_layers()[0][1].source().restore(state)
    for batch in want:
        assert all(torch.equal(a, b) for a, b in zip(batch, other().values(), strict=True))
