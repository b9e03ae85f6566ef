"""The embedded sample: the same bytes for one seed, every class in both splits, every published layer served."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from netspec.data.classes import VOID
from netspec.data.nyud import MEAN as NYUD_MEAN
from netspec.data.pixels import rgb
from netspec.data.published import open_published
from netspec.data.sample import COUNTS, Sample, sample_source
from netspec.data.scene import THINGS
from netspec.errors import SpecError

MEAN = (104.00699, 116.66877, 122.67892)


@pytest.fixture(scope="module")
def sample():
    return Sample(0)


def digest(arrays):
    return [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in arrays]


def test_bytes_are_fixed_by_the_seed(sample):
    assert digest(sample.image("train", 0)) == ["4351d9e00f0bfcae", "9480ce856602e4e5"]
    assert digest(sample.image("val", 5)) == ["c5f568e4771460db", "31a739b6be365df4"]
    assert digest(Sample(0).image("val", 5)) == digest(sample.image("val", 5))


def test_seeds_splits_and_items_differ(sample):
    seen = [digest(Sample(seed).image("train", 1)) for seed in (0, 1, 2, 2**32, 2**40)]
    seen += [digest(sample.image("val", 1)), digest(sample.image("train", 2))]
    assert len({tuple(d) for d in seen}) == len(seen)


def test_a_negative_seed_is_refused():
    with pytest.raises(SpecError, match="seed is -1"):
        Sample(-1)


def test_every_class_is_in_val_and_every_pair_of_pictures_has_all(sample):
    assert COUNTS["train"] >= 64 and COUNTS["val"] >= 16
    pixels = np.zeros(256, dtype=np.int64)
    for i in range(COUNTS["val"]):
        image, label = sample.image("val", i)
        assert image.shape == (*label.shape, 3) and image.dtype == label.dtype == np.uint8
        assert 112 <= label.shape[0] <= 144 and 144 <= label.shape[1] <= 176
        assert set(np.unique(label)) <= {0, VOID, *THINGS}
        pixels += np.bincount(label.ravel(), minlength=256)
    shares = pixels / pixels.sum()
    assert all(shares[thing] > 0.02 for thing in THINGS) and 0.02 < shares[VOID] < 0.15 and shares[0] > 0.4
    for i in (0, 2):
        both = {*np.unique(sample.image("val", i)[1]), *np.unique(sample.image("val", i + 1)[1])}
        assert both == {0, VOID, *THINGS}


def test_classes_look_different(sample):
    """The mean colours of any two classes are apart, so that a small net can learn them."""
    pixels = {thing: [] for thing in (0, *THINGS)}
    for i in range(8):
        image, label = sample.image("train", i)
        for thing in np.unique(label[label != VOID]):
            pixels[int(thing)].append(image[label == thing].astype(float))
    means = [np.concatenate(parts).mean(axis=0) for parts in pixels.values()]
    apart = [np.abs(a - b).max() for k, a in enumerate(means) for b in means[:k]]
    assert min(apart) > 20


def test_written_it_is_a_voc_data_set(tmp_path, sample):
    sample.write(tmp_path / "voc")
    params = {"voc_dir": "voc", "split": "val", "mean": MEAN}
    source = open_published("voc_layers", "VOCSegDataLayer", repr(params), ["data", "label"], root=tmp_path)
    assert source.dataset.ids == sample.ids("val")
    for i in (0, 7):
        image, label = sample.image("val", i)
        np.testing.assert_array_equal(source.dataset.load(i)["label"][0, 0], label)
        stored = rgb(tmp_path / "voc" / "JPEGImages" / f"val_{i:04d}.jpg")
        assert np.abs(stored.astype(int) - image).mean() < 6
    with Image.open(tmp_path / "voc" / "SegmentationClass" / "val_0000.png") as picture:
        assert picture.mode == "P" and picture.getpalette()[3 * 15 : 3 * 16] == [192, 128, 128]
    assert len(list((tmp_path / "voc").rglob("*"))) == 4 + 2 + 2 * sum(COUNTS.values())


def source_of(module, layer, more, tops, sample):
    return sample_source(module, layer, repr({"split": "test", "seed": 1337} | more), tops, sample=sample)


SERVED = [
    ("voc_layers", "VOCSegDataLayer", {"voc_dir": "x", "mean": MEAN}, ["data", "label"], [3, 1]),
    ("voc_layers", "SBDDSegDataLayer", {"sbdd_dir": "x", "mean": MEAN}, ["data", "label"], [3, 1]),
    (
        "nyud_layers",
        "NYUDSegDataLayer",
        {"nyud_dir": "x", "tops": ["color", "depth", "hha", "label"]},
        list("abcd"),
        [3, 1, 3, 1],
    ),
    ("siftflow_layers", "SIFTFlowSegDataLayer", {"siftflow_dir": "x"}, ["data", "sem", "geo"], [3, 1, 1]),
    (
        "pascalcontext_layers",
        "PASCALContextSegDataLayer",
        {"voc_dir": "x", "context_dir": "x"},
        ["data", "label"],
        [3, 1],
    ),
]


@pytest.mark.parametrize("module, layer, more, tops, channels", SERVED)
def test_it_stands_in_for_every_published_layer(module, layer, more, tops, channels, sample):
    source = source_of(module, layer, more, tops, sample)
    shapes = source.peek_shapes()
    arrays = dict(zip(source.tops, source.next(), strict=True))
    label = sample.image("val", 0)[1]
    assert source.id == "val_0000"
    assert shapes == [(1, c, *label.shape) for c in channels]
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
    for top, classes in source.dataset.classes.items():
        values = np.unique(arrays[top])
        assert values[-1] == VOID and values[0] >= 0 and values[-2] < classes
        np.testing.assert_array_equal(arrays[top][0, 0] == VOID, label == VOID)


def test_pixels_are_bgr_minus_the_means_of_the_layer(sample):
    image = sample.image("val", 0)[0].astype(np.float32)
    blob = source_of(*SERVED[0][:4], sample).next()[0]
    np.testing.assert_allclose(blob[0, 0], image[:, :, 2] - MEAN[0], rtol=1e-6)
    blob = source_of(*SERVED[2][:4], sample).next()[0]
    np.testing.assert_allclose(blob[0, 2], image[:, :, 0] - NYUD_MEAN[2], rtol=1e-6)


def test_depth_falls_towards_the_viewer(sample):
    arrays = dict(zip(*[(s := source_of(*SERVED[2][:4], sample)).tops, s.next()], strict=True))
    depth = arrays["depth"][0, 0]
    assert (np.diff(depth[:, 0][sample.scene("val", 0).label[:, 0] == 0]) <= 0).all()
    assert depth[0].min() > depth[-1].max()


def test_geometry_is_sky_above_ground_and_upright_things(sample):
    _, _, geometry = source_of(*SERVED[3][:4], sample).next()
    label = sample.image("val", 0)[1]
    assert (geometry[0, 0][np.isin(label, THINGS)] == 2).all()
    assert set(geometry[0, 0, 0]) <= {0.0, 2.0, 255.0} and set(geometry[0, 0, -1]) <= {1.0, 2.0, 255.0}


def test_order_is_the_published_one(sample):
    params = {"voc_dir": "x", "mean": MEAN, "split": "trainval"}
    source = source_of("voc_layers", "VOCSegDataLayer", params, ["data", "label"], sample)
    names = []
    for _ in range(4):
        source.next()
        names.append(source.id)
    assert names == [f"train_{i:04d}" for i in (59, 51, 35, 56)]
    state, expected = source.state(), source.next()
    source.next()
    source.restore(state)
    np.testing.assert_array_equal(source.next()[0], expected[0])


def test_fewer_classes_than_the_sample_shows_are_refused(sample):
    source = source_of("voc_layers", "VOCSegDataLayer", {"voc_dir": "x", "mean": MEAN, "classes": 3}, "ab", sample)
    with pytest.raises(SpecError, match="val_0000 of the sample has label"):
        source.next()
