"""Image lists, window files, places of files, records."""

from __future__ import annotations

import random

import numpy as np
import pytest

from netspec import schema
from netspec.data import datum
from netspec.data.imagelist import Line, read_list
from netspec.data.paths import Places
from netspec.data.windows import Choice, Warp, Window, nearest, read_windows
from netspec.errors import SpecError

WINDOWS = "# 0\na b.png\n3\n10\n12\n2\n7 0.9 2 1 6 5\n3 0.1 5 4 9 8\n\n# 1\nc.png\n3\n5\n5\n1\n0 0 0 0 4 4\n"


def written(tmp_path, text: bytes | str):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_names_with_spaces_blank_lines_and_line_ends(tmp_path):
    path = written(tmp_path, "\ufeffa.png 3\r\nb  c.png\t-1\n\ndir/d e.png 007 \n")
    assert read_list(path) == [Line("a.png", 3), Line("b  c.png", -1), Line("dir/d e.png", 7)]


def test_names_of_any_bytes(tmp_path):
    assert read_list(written(tmp_path, b"\xff.png 1\n"))[0].name.encode(errors="surrogateescape") == b"\xff.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.txt: error: the list is empty"),
        ("\n \n", "list.txt: error: the list is empty"),
        ("a 1\nb cat\n", "list.txt:2: error: label 'cat' is no integer of 32 bits"),
        ("a 1.5", "list.txt:1: error: label '1.5' is no integer"),
        ("a 3000000000", "list.txt:1: error: label '3000000000' is no integer"),
        ("a.png", "list.txt:1: error: a file name, a space and an integer label are wanted, not 'a.png'"),
        (" 5", "list.txt:1: error: a file name, a space and an integer label are wanted"),
        (b"a \xff\n", "list.txt:1: error: label '?' is no integer"),
    ],
)
def test_bad_lists(text, message, tmp_path):
    with pytest.raises(SpecError) as caught:
        read_list(written(tmp_path, text))
    assert message in str(caught.value)


def test_missing_list(tmp_path):
    with pytest.raises(SpecError, match="cannot read: No such file"):
        read_list(tmp_path / "no.txt")


def test_places_in_turn(tmp_path, monkeypatch):
    here, folder, root = (tmp_path / n for n in ("here", "folder", "root"))
    for place in (here, folder, root):
        place.mkdir()
    monkeypatch.chdir(here)
    places = Places(folder, root)
    with pytest.raises(SpecError) as caught:
        places.file("x", "list")
    assert caught.value.message == f"list 'x' is missing (looked for {here}/x, {folder}/x, {root}/x)"
    for place, found in ((root, root / "x"), (folder, folder / "x"), (here, None)):
        (place / "x").touch()
        assert places.file("x", "list").resolve() == (found or here / "x").resolve()


def test_root_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "y").touch()
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path))
    assert Places.of(None, None).file("y", "list") == tmp_path / "y"


def test_records():
    raw = schema.new("Datum", channels=1, height=2, width=3, data=bytes(range(6)))
    np.testing.assert_array_equal(datum.pixels(raw, "x"), np.arange(6).reshape(1, 2, 3))
    floats = schema.new("Datum", channels=1, height=2, width=1, float_data=[0.5, -1])
    np.testing.assert_array_equal(datum.pixels(floats, "x"), np.array([[[0.5], [-1]]]))


@pytest.mark.parametrize(
    ("sizes", "data", "message"),
    [
        ((1, 2, 3), b"12345", "x holds 5 values, its size 1 x 2 x 3 asks for others"),
        ((1, 0, 3), b"", "x has size 1 x 0 x 3"),
        ((-1, -2, 3), b"123456", "x has size -1 x -2 x 3"),
        ((2**30, 2**30, 2**30), b"1", "x holds 1 values"),
    ],
)
def test_bad_records(sizes, data, message):
    record = schema.new("Datum", **dict(zip(("channels", "height", "width"), sizes, strict=True)), data=data)
    with pytest.raises(SpecError) as caught:
        datum.pixels(record, "x")
    assert caught.value.message.startswith(message)


def test_record_cut_short():
    data = schema.new("Datum", channels=1, height=2, width=3, data=bytes(6)).SerializeToString()
    with pytest.raises(SpecError, match="x is no Datum"):
        datum.parse(data[:-3], "x")


def test_window_file(tmp_path):
    file = read_windows(written(tmp_path, WINDOWS))
    assert (file.images, file.channels) == (["a b.png", "c.png"], 3)
    assert [w.box for w in file.windows] == [(2, 1, 6, 5), (5, 4, 9, 8), (0, 0, 4, 4)]
    assert [(w.image, w.label) for w in file.windows] == [(0, 7), (0, 3), (1, 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.txt: error: the file has no windows"),
        (WINDOWS[:30], "list.txt:7: error: CLASS OVERLAP X1 Y1 X2 Y2 is wanted here, not '7 0.9 2'"),
        (WINDOWS[:20], "list.txt: error: the file ends where the number of windows should follow"),
        ("img.png\n3\n", "list.txt:1: error: '# INDEX' is wanted before each image, not 'img.png'"),
        (WINDOWS.replace("\n2\n", "\ntwo\n"), "list.txt:6: error: the number of windows is wanted here, not 'two'"),
        (WINDOWS.replace("2 1 6 5", "2 1 1 5"), "list.txt:7: error: the window 2 1 1 5 is empty"),
        (WINDOWS.replace("0.9", "nan"), "list.txt:7: error: CLASS OVERLAP X1 Y1 X2 Y2 is wanted here"),
        (WINDOWS.replace("\n2\n", "\n9999999999\n"), "list.txt:6: error: the number of windows is wanted here"),
    ],
)
def test_bad_window_files(text, message, tmp_path):
    with pytest.raises(SpecError) as caught:
        read_windows(written(tmp_path, text))
    assert message in str(caught.value)


def test_nearest_takes_halves_away_from_zero():
    assert [nearest(np.float32(v)) for v in (0.5, 1.5, -0.5, -1.5, 1.4, -1.4)] == [1, 2, -1, -2, 1, -1]


def test_background_first():
    windows = [Window(0, 7, 0.9, (0, 0, 1, 1)), Window(0, 3, 0.1, (1, 1, 2, 2)), Window(0, 2, 0.4, (2, 2, 3, 3))]
    choice = Choice(windows, fg=0.5, bg=0.3, batch=4, fraction=0.25)
    assert [choice(slot, random.Random(0)) for slot in range(4)] == [(windows[1], 0)] * 3 + [(windows[0], 7)]


@pytest.mark.parametrize(
    ("label", "fg", "bg", "message"),
    [
        (7, 0.95, 0.5, "no window has an overlap of fg_threshold 0.95 or more"),
        (7, 0.5, 0.05, "no window has an overlap below bg_threshold 0.05"),
        (0, 0.5, 0.5, "a window with overlap 0.9 has class 0; 1 or more is wanted"),
    ],
)
def test_thresholds_without_windows(label, fg, bg, message):
    windows = [Window(0, label, 0.9, (0, 0, 1, 1)), Window(0, 3, 0.1, (1, 1, 2, 2))]
    with pytest.raises(SpecError, match=message):
        Choice(windows, fg, bg, 4, 0.25)


def test_context_around_the_window():
    """A window of 4 x 4 at size 8 with 2 pixels of context is taken over at its own scale: 8 x 8 around it."""
    pixels = np.random.randint(0, 256, (20, 20, 3), dtype=np.uint8)
    out = Warp(8, context_pad=2)(pixels, (8, 8, 11, 11), False, "x")
    (x1, y1, x2, y2), pad, size = Warp(8, context_pad=2).place((8, 8, 11, 11), (20, 20), False, "x")
    assert (x1, y1, x2, y2) == (6, 6, 14, 14) and pad == (0, 0) and size == (8, 8)
    assert out.shape == (3, 8, 8) and out.all(axis=0).any()


@pytest.mark.parametrize("flip", [False, True])
def test_context_beyond_the_image_is_zero(flip):
    pixels = np.full((20, 20, 3), 100, np.uint8)
    out = Warp(8, context_pad=2, mean_values=(40,), scale=2)(pixels, (0, 8, 3, 11), flip, "x")
    outside, inside = (out[:, :, -2:], out[:, :, :-2]) if flip else (out[:, :, :2], out[:, :, 2:])
    assert not outside.any() and (inside == 120).all()


def test_square_is_the_tightest_around_the_window():
    place = Warp(6, square=True).place((4, 8, 5, 13), (20, 20), False, "x")
    assert place[0][2] - place[0][0] == place[0][3] - place[0][1]


def test_flip_mirrors_the_window():
    pixels = np.random.randint(0, 256, (9, 9, 3), dtype=np.uint8)
    one, other = (Warp(4, mean_values=(9,))(pixels, (1, 2, 6, 7), flip, "x") for flip in (False, True))
    np.testing.assert_array_equal(one, other[:, :, ::-1])


def test_mean_image_around_its_centre():
    pixels, mean = np.zeros((9, 9, 3), np.uint8), np.arange(3 * 64, dtype=np.float32).reshape(3, 8, 8)
    out = Warp(4, mean=mean)(pixels, (1, 2, 4, 5), False, "x")
    np.testing.assert_array_equal(out, -mean[:, 2:6, 2:6])
    with pytest.raises(SpecError, match="the mean image is 3 x 3 x 3; x needs 3 channels of 4"):
        Warp(4, mean=mean[:, :3, :3])(pixels, (1, 2, 4, 5), False, "x")


@pytest.mark.parametrize("context", [0, 1])
def test_window_outside_its_image(context):
    with pytest.raises(SpecError, match="window 30 30 40 40 of x leaves the image of 9 x 9"):
        Warp(4, context_pad=context)(np.zeros((9, 9, 3), np.uint8), (30, 30, 40, 40), False, "x")
