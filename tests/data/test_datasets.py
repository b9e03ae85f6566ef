"""The five data sets: pixels and labels as published, and one clear error for every bad input."""

import numpy as np
import pytest
from layouts import SCENES, SIZES, save_image, save_label, save_list, save_mat
from PIL import Image
from scipy.io import loadmat

from netspec.data.nyud import nyud
from netspec.data.pascalcontext import class_mapping, pascalcontext
from netspec.data.sbdd import sbdd
from netspec.data.siftflow import siftflow
from netspec.data.voc import voc
from netspec.errors import SpecError

MEAN = (104.0, 116.5, 122.25)


def bgr(path, mean):
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"), dtype=np.float32)
    planes = [rgb[:, :, channel] - np.float32(m) for channel, m in zip((2, 1, 0), mean, strict=True)]
    return np.stack(planes)[None]


def check_forms(dataset, channels):
    assert dataset.ids == list(SIZES) and len(dataset) == 3
    for i, name in enumerate(dataset.ids):
        width, height = SIZES[name]
        for top, array in dataset.load(i).items():
            assert array.shape == (1, channels[top], height, width) and array.dtype == np.float32
            assert array.flags.c_contiguous


def test_voc(voc_dir):
    dataset = voc(voc_dir, "val", MEAN)
    check_forms(dataset, {"data": 3, "label": 1})
    arrays = dataset.load(1)
    np.testing.assert_array_equal(arrays["data"], bgr(voc_dir / "JPEGImages" / "b2.jpg", MEAN))
    with Image.open(voc_dir / "SegmentationClass" / "b2.png") as image:
        np.testing.assert_array_equal(arrays["label"][0, 0], np.asarray(image))
    assert arrays["label"][0, 0, 0, 0] == 255
    assert dataset.classes == {"label": 21}


def test_sbdd(sbdd_dir):
    dataset = sbdd(sbdd_dir, "train", MEAN)
    check_forms(dataset, {"data": 3, "label": 1})
    written = loadmat(sbdd_dir / "cls" / "a1.mat")["GTcls"]["Segmentation"][0, 0]
    np.testing.assert_array_equal(dataset.load(0)["label"][0, 0], written)


def test_nyud(nyud_dir):
    dataset = nyud(nyud_dir, "test", ("color", "depth", "hha", "label"))
    check_forms(dataset, {"color": 3, "depth": 1, "hha": 3, "label": 1})
    arrays = dataset.load(2)
    image = nyud_dir / "data" / "images" / "img_c3.png"
    np.testing.assert_array_equal(arrays["color"], bgr(image, (116.190, 97.203, 92.318)))
    np.testing.assert_array_equal(arrays["hha"], bgr(image, (132.431, 94.076, 118.477)))
    written = loadmat(nyud_dir / "segmentation" / "img_c3.mat")["segmentation"]
    np.testing.assert_array_equal(arrays["label"][0, 0], (written - np.uint8(1)).astype(np.uint8))
    np.testing.assert_allclose(arrays["depth"][0, 0], np.log(1500.0 + written) - 7.844, atol=1e-6)


def test_nyud_reads_only_the_tops_asked_for(nyud_dir):
    (nyud_dir / "data" / "hha" / "img_a1.png").unlink()
    assert list(nyud(nyud_dir, "test", ("color", "label")).load(0)) == ["color", "label"]


def test_siftflow(siftflow_dir):
    dataset = siftflow(siftflow_dir, "test")
    check_forms(dataset, {"data": 3, "sem": 1, "geo": 1})
    items = [dataset.load(i) for i in range(3)]
    pairs = [zip(item["sem"].ravel(), item["geo"].ravel(), strict=True) for item in items]
    found = {(int(s), int(g)) for item in pairs for s, g in item}
    assert {s for s, _ in found} <= {*range(33), 255} and {g for _, g in found} == {0, 1, 2, 255}
    for s, g in found:
        written = 0 if s == 255 else s + 1
        geometric = 0 if written % 5 == 4 else written % 4
        assert g == (255 if geometric == 0 else geometric - 1)


def test_pascalcontext(context_dirs):
    dataset = pascalcontext(*context_dirs, "val")
    check_forms(dataset, {"data": 3, "label": 1})
    written = loadmat(context_dirs[1] / "trainval" / "a1.mat")["LabelMap"]
    np.testing.assert_array_equal(dataset.load(0)["label"][0, 0], np.array([0, 0, 1, 2, 52, 28, 0])[written])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_images_of_other_kinds_become_rgb(voc_dir, rng, mode):
    path = voc_dir / "JPEGImages" / "a1.jpg"
    pixels = rng.randint(0, 256, (7, 9, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(path, format="TIFF" if mode == "CMYK" else "PNG")
    data = voc(voc_dir, "val", (0, 0, 0)).load(0)["data"]
    np.testing.assert_array_equal(data, bgr(path, (0, 0, 0)))


def test_transparent_palette_images(voc_dir, rng):
    image = Image.fromarray(rng.randint(0, 256, (7, 9, 3)).astype(np.uint8)).quantize(16)
    image.save(voc_dir / "JPEGImages" / "a1.jpg", format="PNG", transparency=bytes(range(16)))
    assert voc(voc_dir, "val", MEAN).load(0)["data"].shape == (1, 3, 7, 9)


def test_more_classes_than_voc_when_asked_for(voc_dir):
    save_label(voc_dir / "SegmentationClass" / "a1.png", np.full((7, 9), 99))
    assert voc(voc_dir, "val", MEAN, classes=150).load(0)["label"].max() == 99


def split(voc_dir):
    return voc_dir / "ImageSets" / "Segmentation" / "val.txt"


def test_lists_that_are_wrong(voc_dir):
    for text, message in [
        ("", "val.txt is empty"),
        ("\n \n", "val.txt is empty"),
        ("a1\nb2\na1\n", "id 'a1' twice"),
        ("../x\n", "leads out"),
        ("/etc/x\n", "leads out"),
    ]:
        split(voc_dir).write_text(text)
        with pytest.raises(SpecError, match=message):
            voc(voc_dir, "val", MEAN)
    split(voc_dir).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        voc(voc_dir, "val", MEAN)


def test_lists_with_windows_line_ends_and_a_mark(voc_dir):
    split(voc_dir).write_bytes(b"\xef\xbb\xbfa1\r\nb2 \r\n\r\n")
    assert voc(voc_dir, "val", MEAN).ids == ["a1", "b2"]


def test_a_list_that_is_missing(voc_dir):
    with pytest.raises(SpecError, match=r"trian.txt: .*, did you mean 'train'\?"):
        voc(voc_dir, "trian", MEAN)
    with pytest.raises(SpecError, match="cannot read split list .*other/ImageSets"):
        voc(voc_dir / "other", "val", MEAN)
    with pytest.raises(SpecError, match="cannot read split list"):
        voc(voc_dir, "v" * 5000, MEAN)


def test_ids_too_long_for_a_file_are_missing_files(voc_dir):
    split(voc_dir).write_text("x" * 5000)
    with pytest.raises(SpecError, match="is missing: 2 of the 2 files"):
        voc(voc_dir, "val", MEAN)


def test_missing_files_are_counted(voc_dir):
    (voc_dir / "JPEGImages" / "b2.jpg").unlink()
    (voc_dir / "SegmentationClass" / "c3.png").unlink()
    with pytest.raises(SpecError, match=r"JPEGImages/b2.jpg is missing: 2 of the 6 files of .*val.txt"):
        voc(voc_dir, "val", MEAN)


def test_a_label_of_another_size(voc_dir):
    save_label(voc_dir / "SegmentationClass" / "a1.png", np.zeros((9, 7)))
    with pytest.raises(SpecError, match=r"a1.png is 7 x 9, but .*a1.jpg is 9 x 7"):
        voc(voc_dir, "val", MEAN).load(0)


def test_a_label_outside_the_classes(voc_dir):
    label = np.zeros((7, 9))
    label[3, 3:5] = 21
    save_label(voc_dir / "SegmentationClass" / "a1.png", label)
    with pytest.raises(SpecError, match=r"a1.png has label 21 at 2 pixels, 0..20 and 255 \(void\)"):
        voc(voc_dir, "val", MEAN).load(0)


def test_a_coloured_label(voc_dir, rng):
    save_image(voc_dir / "SegmentationClass" / "a1.png", rng.randint(0, 256, (7, 9, 3)).astype(np.uint8))
    with pytest.raises(SpecError, match="a1.png is RGB, one channel"):
        voc(voc_dir, "val", MEAN).load(0)


@pytest.mark.parametrize("folder, suffix", [("JPEGImages", "jpg"), ("SegmentationClass", "png")])
@pytest.mark.parametrize("damage", ["nothing", "text", "half"])
def test_broken_images(voc_dir, folder, suffix, damage):
    path = voc_dir / folder / f"a1.{suffix}"
    whole = path.read_bytes()
    path.write_bytes({"nothing": b"", "text": b"<html>404</html>", "half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(SpecError, match=f"a1.{suffix} cannot be read: "):
        voc(voc_dir, "val", MEAN).load(0)


def test_a_file_gone_after_the_start(voc_dir):
    dataset = voc(voc_dir, "val", MEAN)
    (voc_dir / "JPEGImages" / "a1.jpg").unlink()
    with pytest.raises(SpecError, match="a1.jpg is missing"):
        dataset.load(0)


def test_bad_mat_files(sbdd_dir, nyud_dir, siftflow_dir):
    path = sbdd_dir / "cls" / "a1.mat"
    cases = [
        ({"other": 1}, "no variable 'GTcls'"),
        ({"GTcls": {"Boundaries": 1}}, "no field GTcls.Segmentation"),
        ({"GTcls": np.zeros((7, 9))}, "no field GTcls.Segmentation"),
        ({"GTcls": {"Segmentation": np.zeros((7, 9, 3))}}, "integers H x W are wanted"),
        ({"GTcls": {"Segmentation": np.full((7, 9), 0.5)}}, "no integers"),
        ({"GTcls": {"Segmentation": np.full((7, 9), np.nan)}}, "no integers"),
        ({"GTcls": {"Segmentation": np.full((7, 9), 77)}}, "label 77 at 63 pixels"),
    ]
    for variables, message in cases:
        save_mat(path, **variables)
        with pytest.raises(SpecError, match=rf"a1.mat .*{message}"):
            sbdd(sbdd_dir, "train", MEAN).load(0)
    path.write_bytes(b"MATLAB 5.0 and no more")
    with pytest.raises(SpecError, match="a1.mat cannot be read"):
        sbdd(sbdd_dir, "train", MEAN).load(0)


def test_classes_outside_nyud_and_siftflow(nyud_dir, siftflow_dir):
    save_mat(nyud_dir / "segmentation" / "img_a1.mat", segmentation=np.full((7, 9), 41))
    with pytest.raises(SpecError, match="img_a1.mat has label 40"):
        nyud(nyud_dir, "test", ("label",)).load(0)
    save_mat(siftflow_dir / "GeoLabels" / SCENES / "a1.mat", S=np.full((7, 9), 4))
    with pytest.raises(SpecError, match=r"GeoLabels.*a1.mat has label 3 .* 0..2 and 255"):
        siftflow(siftflow_dir, "test").load(0)


def test_depth_without_logarithm(nyud_dir):
    save_image(nyud_dir / "data" / "depth" / "img_a1.png", np.zeros((7, 9), dtype=np.uint16))
    with pytest.raises(SpecError, match="img_a1.png has depth 0"):
        nyud(nyud_dir, "test", ("depth",)).load(0)


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("labels.txt", "", "names no classes"),
        ("labels.txt", "1: accordion\nnonsense\n", "labels.txt:2: error: line is 'nonsense'"),
        ("labels.txt", "99999999999999: x\n", "'number: name' is wanted"),
        ("59_labels.txt", "1: diningtabel\n", "has class 'diningtabel', which"),
        ("59_labels.txt", "60: pottedplant\n", "class number 60"),
    ],
)
def test_bad_name_lists(context_dirs, file, text, message):
    (context_dirs[1] / file).write_text(text)
    with pytest.raises(SpecError, match=message):
        pascalcontext(*context_dirs, "val")


def test_context_files_missing_or_with_unknown_classes(context_dirs):
    save_mat(context_dirs[1] / "trainval" / "a1.mat", LabelMap=np.full((7, 9), 7))
    with pytest.raises(SpecError, match="a1.mat has class 7 at 63 pixels, 0..6 are known"):
        pascalcontext(*context_dirs, "val").load(0)
    (context_dirs[1] / "labels.txt").unlink()
    with pytest.raises(SpecError, match="labels.txt is missing"):
        pascalcontext(*context_dirs, "val")


def test_a_zeroth_name_of_the_59_is_the_rest(tmp_path):
    (tmp_path / "all.txt").write_text("1: tree\n2: sky\n")
    (tmp_path / "few.txt").write_text("0: background\n1: sky\n")
    assert class_mapping(tmp_path / "all.txt", tmp_path / "few.txt").tolist() == [0, 0, 1]


def test_ids_in_folders(voc_dir, rng):
    save_image(voc_dir / "JPEGImages" / "day" / "x.jpg", rng.randint(0, 256, (4, 4, 3)).astype(np.uint8))
    save_label(voc_dir / "SegmentationClass" / "day" / "x.png", np.zeros((4, 4)))
    save_list(split(voc_dir), ["day/x"])
    assert voc(voc_dir, "val", MEAN).load(0)["data"].shape == (1, 3, 4, 4)
