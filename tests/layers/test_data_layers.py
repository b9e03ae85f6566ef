"""Data, ImageData, HDF5Data, HDF5Output, MemoryData, WindowData in nets: values, positions, shares, errors."""

from __future__ import annotations

import gc
import json
import logging
import time
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from netspec import schema
from netspec.data.database import write_database
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.layers import Context
from netspec.net import Net
from netspec.spec import binary
from netspec.spec.text import parse

ITEMS = 10
TOPS = 'top: "data" top: "label"'
RANDOM = "transform_param { mirror: true crop_size: 4 }"
WINDOWS = "# 0\n0.png\n3\n6\n7\n3\n7 0.9 0 1 5 5\n3 0.1 1 0 4 3\n2 0.2 2 2 6 5\n"
SOURCES = {
    "Data": f'data_param {{ source: "db" batch_size: 3 backend: LMDB rand_skip: 4 }} {RANDOM}',
    "ImageData": f'image_data_param {{ source: "list.txt" batch_size: 3 shuffle: true rand_skip: 4 }} {RANDOM}',
    "HDF5Data": 'hdf5_data_param { source: "h5.txt" batch_size: 3 shuffle: true }',
    "WindowData": f'window_data_param {{ source: "windows.txt" batch_size: 3 }} {RANDOM}',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten pictures of 3 x 6 x 7, which is picture n being its label's, in every form."""
    pixels = np.random.randint(0, 256, (ITEMS, 6, 7, 3), dtype=np.uint8)
    sizes = {"channels": 3, "height": 6, "width": 7}
    records = [
        schema.new("Datum", **sizes, data=p[:, :, ::-1].transpose(2, 0, 1).tobytes(), label=n)
        for n, p in enumerate(pixels)
    ]
    write_database(tmp_path / "db", [(b"%08d" % n, r.SerializeToString()) for n, r in enumerate(records)])
    for n, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
    (tmp_path / "list.txt").write_text("".join(f"{n}.png {n}\n" for n in range(ITEMS)))
    for name, rows in (("a.h5", slice(0, 6)), ("b.h5", slice(6, None))):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = pixels[rows].transpose(0, 3, 1, 2), np.arange(ITEMS)[rows]
    (tmp_path / "h5.txt").write_text("a.h5\nb.h5\n")
    (tmp_path / "windows.txt").write_text(WINDOWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def net(type: str, settings: str, tops: str = TOPS, phase: str = "TRAIN", **context) -> Net:
    text = f'layer {{\n name: "d" type: "{type}" {tops}\n {settings} }}'
    return Net(lower(parse(text, "net.prototxt"), phase), Context(**context))


def source(net: Net):
    return net.data_layers()[0][1].source()


def batches(net: Net, count: int) -> list[list[torch.Tensor]]:
    return [list(net(blobs=["data", "label"]).values()) for _ in range(count)]


def labels(net: Net, count: int) -> list[float]:
    return [v for _ in range(count) for v in net(blobs=["label"])["label"].flatten().tolist()]


def same(a, b):
    return all(torch.equal(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("type", SOURCES)
@pytest.mark.parametrize("done", [0, 1, 5, 9])
def test_resumed_is_as_never_stopped(type, done, folder):
    whole = net(type, SOURCES[type], seed=3)
    batches(whole, done)
    state = json.loads(json.dumps(source(whole).state()))
    want = batches(whole, 6)
    other = net(type, SOURCES[type], seed=4)
    batches(other, 2)
    source(other).restore(state)
    assert same(batches(other, 6), want)
    source(whole).close()


@pytest.mark.parametrize("type", SOURCES)
def test_a_seed_decides(type, folder):
    first, again, other = (batches(net(type, SOURCES[type], seed=s), 6) for s in (3, 3, 4))
    assert same(first, again) and not same(first, other)


@pytest.mark.parametrize("type", SOURCES)
def test_without_a_seed_torchs_decides(type, folder):
    torch.manual_seed(5)
    first = batches(net(type, SOURCES[type]), 6)
    torch.manual_seed(5)
    assert same(first, batches(net(type, SOURCES[type]), 6))


@pytest.mark.parametrize("type", ["Data", "ImageData", "HDF5Data"])
@pytest.mark.parametrize("world", [2, 3])
def test_workers_share_the_items_without_overlap(type, world, folder):
    """Item k of one worker's run is item k div world of worker k mod world: also cropped and mirrored alike."""
    alone = net(type, SOURCES[type], seed=3)
    want = [torch.cat([x for x, _ in run]) for run in [batches(alone, 2 * world)]][0]
    shares = [batches(net(type, SOURCES[type], seed=3, rank=r, world=world), 2) for r in range(world)]
    parts = [torch.cat([x for x, _ in share]) for share in shares]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), want)


@pytest.mark.parametrize("type", ["Data", "ImageData", "HDF5Data"])
def test_a_pass_takes_every_item_once(type, folder):
    settings = SOURCES[type].replace("batch_size: 3", "batch_size: 10").replace("rand_skip: 4", "")
    run = net(type, settings, seed=3)
    for _ in range(3):
        assert sorted(labels(run, 1)) == list(range(ITEMS))


def test_in_order_and_round(folder):
    run = net("Data", 'data_param { source: "db" batch_size: 4 backend: LMDB }')
    assert labels(run, 5) == [n % ITEMS for n in range(20)]
    run = net("ImageData", 'image_data_param { source: "list.txt" batch_size: 4 }')
    assert labels(run, 5) == [n % ITEMS for n in range(20)]


@pytest.mark.parametrize("type", ["Data", "ImageData"])
def test_rand_skip_starts_anywhere_below_it(type, folder):
    settings = SOURCES[type].replace("shuffle: true", "")
    starts = {labels(net(type, settings, seed=s), 1)[0] for s in range(30)}
    assert starts == {0, 1, 2, 3}


def test_shuffle_takes_a_new_order_in_every_pass(folder):
    run = net("ImageData", 'image_data_param { source: "list.txt" batch_size: 10 shuffle: true }', seed=3)
    passes = [labels(run, 1) for _ in range(4)]
    assert len({tuple(p) for p in passes}) == 4 and passes[0] != sorted(passes[0])


def test_the_same_pictures_by_any_way(folder):
    by_list = batches(net("ImageData", 'image_data_param { source: "list.txt" batch_size: 5 }'), 2)
    assert same(by_list, batches(net("Data", 'data_param { source: "db" batch_size: 5 backend: LMDB }'), 2))


def test_encoded_records(folder):
    entries = [(b"%d" % n, encoded((folder / f"{n}.png").read_bytes(), n)) for n in range(3)]
    write_database(folder / "encoded", entries)
    settings = 'data_param { source: "encoded" batch_size: 3 backend: LMDB }'
    raw = net("Data", 'data_param { source: "db" batch_size: 3 backend: LMDB }')
    assert same(batches(net("Data", settings), 1), batches(raw, 1))
    grey = net("Data", settings + " transform_param { force_gray: true }")
    by_list = net("ImageData", 'image_data_param { source: "list.txt" batch_size: 3 is_color: false }')
    assert same(batches(grey, 1), batches(by_list, 1))


def encoded(data: bytes, label: int) -> bytes:
    return schema.new("Datum", data=data, label=label, encoded=True).SerializeToString()


def test_a_context_takes_folders_as_strings():
    assert Context(folder="a", data_root="b") == Context(folder=Path("a"), data_root=Path("b"))  # type: ignore[arg-type]


def test_shapes_come_without_moving_on(folder):
    run = net("Data", 'data_param { source: "db" batch_size: 4 backend: LMDB }')
    assert {b.name: s for b, s in run.blob_shapes.items()} == {"data": (4, 3, 6, 7), "label": (4,)}
    assert labels(run, 1) == [0, 1, 2, 3]


def test_a_net_is_read_without_its_data():
    for type, settings in SOURCES.items():
        text = f'layer {{ name: "d" type: "{type}" {TOPS} {settings} }}'
        shapes = {"data": (2, 3, 4, 4), "label": (2,)}
        assert set(Net(lower(parse(text), "TRAIN"), shapes=shapes).blob_shapes.values()) == set(shapes.values())


def test_files_beside_the_net_or_under_the_root(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for context in ({"folder": folder}, {"data_root": folder}):
        for type, settings in SOURCES.items():
            assert batches(net(type, settings, **context), 1)


def test_data_shuffles_where_a_fork_says_so(folder):
    built = net("Data", 'data_param { source: "db" batch_size: 10 backend: LMDB shuffle: true }', seed=3)
    passes = [labels(built, 1) for _ in range(4)]
    assert all(sorted(seen) == list(range(ITEMS)) for seen in passes)
    assert len({tuple(seen) for seen in passes}) == 4


def test_backend_is_what_lies_there(folder, caplog):
    with caplog.at_level(logging.WARNING, "netspec"):
        assert labels(net("Data", 'data_param { source: "db" batch_size: 2 }'), 1) == [0, 1]
    assert caplog.messages == ["layer 'd': db is an LMDB; say backend: LMDB"]


@pytest.mark.parametrize(
    ("type", "transform", "message"),
    [
        ("ImageData", "force_gray: true", "transform_param.force_gray does nothing here; is_color decides"),
        (
            "WindowData",
            "crop_size: 4 scale: 2",
            "transform_param.scale does nothing here; window_data_param.scale scales",
        ),
    ],
)
def test_what_caffe_ignores_is_said(type, transform, message, folder, caplog):
    settings = SOURCES[type].replace(RANDOM, f"transform_param {{ {transform} }}")
    with caplog.at_level(logging.WARNING, "netspec"):
        out = net(type, settings)(blobs=["data"])["data"]
    assert caplog.messages == [f"layer 'd': {message}"]
    assert out.shape[1] == 3 and out.max() > 1


def test_a_forced_grey_is_declared(folder):
    settings = 'data_param { source: "db" batch_size: 3 } transform_param { %s }'
    assert net("Data", settings % "force_gray: true").data_layers()[0][1].declared() == [(3, 1, 0, 0), (3,)]
    assert net("Data", settings % "crop_size: 4").data_layers()[0][1].declared() == [(3, 3, 4, 4), (3,)]


def test_two_nets_on_one_database(folder):
    settings = 'data_param { source: "db" batch_size: 2 backend: LMDB }'
    first, second = net("Data", settings), net("Data", settings, phase="TEST")
    assert labels(first, 2) == labels(second, 2) == [0, 1, 2, 3]


def test_the_database_is_closed_with_the_net(folder):
    run = net("Data", SOURCES["Data"])
    batches(run, 2)
    source(run).close()
    del run
    for _ in range(100):  # a batch that a thread was making ends first
        gc.collect()
        try:
            lmdb.open("db", readonly=True, lock=False).close()
            break
        except lmdb.Error:
            time.sleep(0.02)
    else:
        pytest.fail("the database is still open")


def test_mean_file(folder):
    binary.write(folder / "mean", schema.new("BlobProto", num=1, channels=3, height=6, width=7, data=range(126)))
    settings = 'data_param { source: "db" batch_size: 2 backend: LMDB } '
    plain = batches(net("Data", settings), 1)[0][0]
    out = batches(net("Data", settings + 'transform_param { mean_file: "mean" scale: 0.5 }'), 1)[0][0]
    assert torch.equal(out, (plain - torch.arange(126.0).view(3, 6, 7)) * 0.5)


def test_windows_are_drawn_by_class(folder):
    run = net("WindowData", SOURCES["WindowData"].replace("batch_size: 3", "batch_size: 4"), seed=1)
    assert labels(run, 3) == [0, 0, 0, 7] * 3


def test_cached_images_are_the_same(folder):
    one, other = (
        batches(net("WindowData", SOURCES["WindowData"].replace("batch", f"cache_images: {c} batch"), seed=1), 3)
        for c in ("true", "false")
    )
    assert same(one, other)


MEMORY = "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 }"


def test_memory_data():
    run = net("MemoryData", MEMORY)
    assert [s for s in run.blob_shapes.values()] == [(2, 1, 1, 2), (2, 1, 1, 1)]
    with pytest.raises(SpecError, match="layer 'd' .MemoryData.: has no data yet: set_input_arrays"):
        run()
    run.data_layers()[0][1].set_input_arrays(np.arange(8).reshape(4, 1, 1, 2), np.arange(4))
    assert labels(run, 3) == [0, 1, 2, 3, 0, 1]


def output_net(a: str, b: str) -> Net:
    inputs = "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {s} }} }} }}\n'
        for n, s in (("a", a), ("b", b))
    )
    text = (
        inputs + 'layer { name: "d" type: "HDF5Output" bottom: "a" bottom: "b"\n hdf5_output_param { file_name: "o" } }'
    )
    return Net(lower(parse(text, "net.prototxt"), "TEST"))


def test_hdf5_output_adds_the_rows_of_every_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = output_net("dim: 2 dim: 3", "dim: 2")
    for n in range(3):
        run(a=torch.full((2, 3), float(n)), b=torch.arange(2.0))
    del run
    gc.collect()
    with h5py.File("o") as file:
        assert file["data"].shape == (6, 3, 1, 1) and file["label"].shape == (6, 1, 1, 1)
        assert file["data"][:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_hdf5_output_of_a_net_that_never_ran_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output_net("dim: 2 dim: 3", "dim: 2")
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("dim: 2", "dim: 3", "bottoms [2] and [3] differ in their first axis"),
        ("dim: 2 dim: 1 dim: 1 dim: 1 dim: 1", "dim: 2", "bottom [2, 1, 1, 1, 1] has 5 axes; 1 to 4 are wanted"),
    ],
)
def test_hdf5_output_refuses(a, b, message):
    with pytest.raises(SpecError) as caught:
        output_net(a, b)
    assert message in str(caught.value)


DATA = 'data_param {{ source: "{}" batch_size: 2 backend: LMDB }}'
IMAGES = 'image_data_param {{ source: "{}" batch_size: {} }}'
WINDOW = 'window_data_param {{ source: "windows.txt" batch_size: 2 {} }}'
CROP = " transform_param { crop_size: 4 }"
BAD = [
    ("Data", DATA.format("no"), "net.prototxt:3:15: ", "database 'no' is missing (looked for "),
    ("Data", DATA.format("level"), "net.prototxt:3:15: ", "is a LevelDB, which is not read; make an LMDB"),
    ("Data", DATA.format("nodb"), "net.prototxt:3:15: ", "is no LMDB that can be read"),
    ("Data", DATA.format("short"), "net.prototxt:3:15: ", "entry '0' of "),
    ("Data", DATA.format("corrupt"), "net.prototxt:3:15: ", "is no image that can be decoded"),
    ("Data", DATA.format("sizes"), "net.prototxt:1:1: ", "but its batch began with entry '0' of "),
    ("Data", 'data_param { source: "db" backend: LMDB }', "net.prototxt:3:2: ", "batch_size 0 is not in 1..2147483647"),
    ("Data", "data_param { batch_size: 2 }", "net.prototxt:3:2: ", "source is missing or empty"),
    (
        "Data",
        'data_param { source: "db" batch_size: 2000000000 }',
        "net.prototxt:3:15: ",
        "a smaller batch_size is wanted",
    ),
    (
        "Data",
        'data_param { source: "db" batch_size: 2 side: 7 }',
        "net.prototxt:3:",
        "side is not honoured by Data",
    ),
    ("Data", DATA.format("db") + " transform_param { crop_size: 7 }", "net.prototxt:3:", "crop_size 7 exceeds entry"),
    ("Data", DATA.format("db") + ' transform_param { mean_file: "m" }', "net.prototxt:3:", "mean file 'm' is missing"),
    (
        "Data",
        DATA.format("db") + " transform_param { crop_size_x: 7 }",
        "net.prototxt:3:",
        "crop_size_x is not honoured",
    ),
    (
        "Data",
        DATA.format("db") + ' transform_param { mean_file: "m" mean_value: 1 }',
        "net.prototxt:3:",
        "mean_file and mean_value exclude each other",
    ),
    (
        "Data",
        DATA.format("db") + " transform_param { force_gray: true force_color: true }",
        "net.prototxt:3:",
        "force_color and force_gray exclude each other",
    ),
    ("ImageData", IMAGES.format("no", 2), "net.prototxt:3:21: ", "image list 'no' is missing (looked for "),
    ("ImageData", IMAGES.format("empty.txt", 2), "empty.txt: ", "the list is empty"),
    ("ImageData", IMAGES.format("word.txt", 2), "word.txt:1: ", "label 'cat' is no integer"),
    ("ImageData", IMAGES.format("gone.txt", 2), "net.prototxt:3:21: ", "image 'gone.png' is missing (looked for "),
    ("ImageData", IMAGES.format("corrupt.txt", 2), "net.prototxt:3:21: ", "corrupt.png is no image"),
    (
        "ImageData",
        'image_data_param { source: "list.txt" new_height: 4 }',
        "net.prototxt:3:40: ",
        "new_height is given without new_width; give both or none",
    ),
    ("HDF5Data", 'hdf5_data_param { source: "no" batch_size: 2 }', "net.prototxt:3:20: ", "HDF5 list 'no' is missing"),
    (
        "HDF5Data",
        'hdf5_data_param { source: "list.txt" batch_size: 2 }',
        "net.prototxt:3:20: ",
        "HDF5 file '0.png 0' is",
    ),
    ("HDF5Data", SOURCES["HDF5Data"] + CROP, "net.prototxt:3:", "HDF5Data does not transform data"),
    (
        "MemoryData",
        "memory_data_param { batch_size: 2 height: 1 width: 2 }",
        "net.prototxt:3:",
        "channels is missing or 0",
    ),
    ("WindowData", WINDOW.format(""), "net.prototxt:1:1: ", "crop_size is missing or 0"),
    (
        "WindowData",
        WINDOW.format("context_pad: 2") + CROP,
        "net.prototxt:3:",
        "context_pad 2 leaves nothing of crop_size 4",
    ),
    ("WindowData", WINDOW.format('crop_mode: "round"') + CROP, "net.prototxt:3:", "'warp' or 'square' is wanted"),
    ("WindowData", WINDOW.format("fg_fraction: 2") + CROP, "net.prototxt:3:", "fg_fraction 2 is not in 0..1"),
    (
        "WindowData",
        WINDOW.format("fg_threshold: 1 fg_fraction: 0.5") + CROP,
        "net.prototxt:3:",
        "no window has an overlap",
    ),
    ("WindowData", WINDOW.format('root_folder: "x/"') + CROP, "net.prototxt:1:1: ", "image 'x/0.png' is missing"),
]


@pytest.fixture
def spoilt(folder):
    """The folder with what is wrong in every way."""
    (folder / "level").mkdir()
    (folder / "level" / "CURRENT").touch()
    (folder / "nodb").mkdir()
    (folder / "nodb" / "data.mdb").write_bytes(b"text" * 5000)
    whole = schema.new("Datum", channels=1, height=2, width=2, data=b"1234").SerializeToString()
    large = schema.new("Datum", channels=1, height=1, width=4, data=b"1234").SerializeToString()
    write_database(folder / "short", [(b"0", whole[:-2])])
    write_database(folder / "corrupt", [(b"0", encoded(b"no image", 0))])
    write_database(folder / "sizes", [(b"0", whole), (b"1", large)])
    (folder / "empty.txt").write_text("\n")
    (folder / "word.txt").write_text("0.png cat\n")
    (folder / "gone.txt").write_text("gone.png 1\n")
    (folder / "corrupt.png").write_bytes(b"\x89PNG")
    (folder / "corrupt.txt").write_text("corrupt.png 1\n")
    return folder


@pytest.mark.parametrize(("type", "settings", "place", "message"), BAD)
def test_bad_input_is_one_clear_error(type, settings, place, message, spoilt):
    with pytest.raises(SpecError) as caught:
        net(type, settings)
    text = str(caught.value)
    assert place in text.split("error: ")[0] and message in text and "\n" not in text


@pytest.mark.parametrize(
    "state", [{}, {"items": 3, "seed": 1}, {"items": {}, "seed": 1}, {"items": {"n": 3}, "seed": "x"}]
)
def test_a_false_position_is_refused(state, folder):
    run = net("Data", SOURCES["Data"])
    with pytest.raises(SpecError, match="saved"):
        source(run).restore(state)
    assert batches(run, 1)
