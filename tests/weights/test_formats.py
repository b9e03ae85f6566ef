"""Conversions between the formats keep every bit."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import save_file

from netspec import schema, weights
from netspec.errors import SpecError
from netspec.ir.lower import lower
from netspec.net import Net
from netspec.spec import text
from netspec.weights import mean, npz, solverstate
from netspec.weights.model import Model, StoredLayer, blob_index, blob_name, from_tensors, to_tensors
from netspec.weights.report import match

NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,6}(/[a-z][a-z0-9_]{0,4})?", fullmatch=True)
# Any 32 bits, NaNs with payloads included.
BLOBS = hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=5, max_side=3)).map(lambda a: a.view(np.float32))


@st.composite
def models(draw: st.DrawFn) -> Model:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda n: n.split("/")[0]))
    types = st.sampled_from(["Convolution", "InnerProduct", "ReLU", "Mine", ""])
    layers = [StoredLayer(n, draw(types), draw(st.lists(BLOBS, max_size=4))) for n in names]
    return Model(draw(NAMES), [StoredLayer(s.name, s.type, s.blobs, [None] * len(s.blobs)) for s in layers])


def bits(model: Model, empty: bool = True) -> list:
    return [
        (s.name, [(b.shape, b.tobytes()) for b in s.blobs if b is not None]) for s in model.layers if s.blobs or empty
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=models())
def test_round_trip_through_all_formats(model: Model, tmp_path: Path) -> None:
    first = last = tmp_path / "a.caffemodel"
    weights.write(first, model)
    for name in ("b.safetensors", "c.caffemodel", "d.caffemodel.h5", "e.caffemodel"):
        weights.write(tmp_path / name, weights.read(last))
        last = tmp_path / name
        assert bits(weights.read(last)) == bits(model)
        assert [s.type for s in weights.read(last).layers] == [s.type for s in model.layers]
    assert (tmp_path / "e.caffemodel").read_bytes() == first.read_bytes()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=models())
@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_round_trip_of_bare_tensors(suffix: str, model: Model, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    weights.write(path, model)
    assert bits(weights.read(path)) == bits(model, empty=False)


def one(shape: tuple[int, ...] = (2, 3)) -> Model:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Model("one", [StoredLayer("a", "InnerProduct", [values], [None])])


def test_layers_of_one_name_each_keep_their_blobs(tmp_path: Path) -> None:
    model = Model("m", one().layers + one((4,)).layers)
    weights.write(tmp_path / "x.caffemodel", model)
    assert bits(weights.read(tmp_path / "x.caffemodel")) == bits(model)
    with pytest.raises(SpecError, match="two layers are named 'a'"):
        weights.write(tmp_path / "x.h5", model)


def test_the_net_gives_order_and_wiring(tmp_path: Path) -> None:
    net = schema.new("NetParameter", name="wired")
    net.layer.add(name="in", type="Input", top=["x"])
    net.layer.add(name="a", type="InnerProduct", bottom=["x"], top=["y"]).blobs.add(data=[1.0])
    weights.write(tmp_path / "x.caffemodel", Model("m", one((4,)).layers + [StoredLayer("later", "ReLU")]), net)
    model = weights.read(tmp_path / "x.caffemodel")
    assert [s.name for s in model.layers] == ["in", "a", "later"]
    assert (model.name, list(model.net.layer[1].bottom)) == ("wired", ["x"])
    assert model.layers[1].blobs[0].shape == (4,)
    message = schema.message_class("NetParameter").FromString((tmp_path / "x.caffemodel").read_bytes())
    assert list(message.layer[1].blobs[0].data) == [0, 1, 2, 3]
    weights.write(tmp_path / "x.safetensors", model)
    assert weights.read(tmp_path / "x.safetensors").net == model.net


def test_a_net_of_old_form_is_upgraded_on_writing(tmp_path: Path) -> None:
    net = schema.new("NetParameter")
    net.layers.add(name="a", type=14)
    weights.write(tmp_path / "x.caffemodel", one(), net)
    assert weights.read(tmp_path / "x.caffemodel").net.layer[0].type == "InnerProduct"


def test_single_values_are_read_in_one_run(tmp_path: Path) -> None:
    """Values written one by one, each with its tag, and in several packed pieces."""
    singles = b"".join(b"\x2d" + struct.pack("<f", v) for v in range(100))
    packed = b"\x2a\x08" + struct.pack("<2f", 100, 101)
    blob = singles + packed + b"\x3a\x03\x0a\x01\x66"
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob) & 127 | 128, len(blob) >> 7]) + blob
    (tmp_path / "x.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer) & 127 | 128, len(layer) >> 7]) + layer)
    read = weights.read(tmp_path / "x.caffemodel").layers[0].blobs[0]
    np.testing.assert_array_equal(read, np.arange(102))


def test_fields_of_forks_do_not_matter(tmp_path: Path) -> None:
    """A layer's unknown fields survive, whatever they hold; a net that does not parse is left out."""
    layer = b"\x0a\x01a\x12\x04ReLU" + b"\xfa\x3f\x02hi"
    (tmp_path / "x.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    weights.write(tmp_path / "y.caffemodel", weights.read(tmp_path / "x.caffemodel"))
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()
    layer = b"\x0a\x01a\x12\x04ReLU" + b"\xa2\x06\x03\xff\xff\xff"
    (tmp_path / "x.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    model = weights.read(tmp_path / "x.caffemodel")
    assert (model.net, model.layers[0].name, model.layers[0].type) == (None, "a", "ReLU")


def test_legacy_axes_of_unknown_types_stay_legacy(tmp_path: Path) -> None:
    layer = StoredLayer("a", "Mine", [np.ones((1, 1, 1, 3), np.float32)], [None], legacy=True)
    weights.write(tmp_path / "x.caffemodel", Model("m", [layer]))
    message = schema.message_class("NetParameter").FromString((tmp_path / "x.caffemodel").read_bytes())
    assert message.layer[0].blobs[0].width == 3
    assert weights.read(tmp_path / "x.caffemodel").layers[0].legacy


def test_names_of_tensors() -> None:
    assert [blob_name(i) for i in range(4)] == ["weight", "bias", "blob2", "blob3"]
    assert [blob_index(blob_name(i)) for i in range(4)] == [0, 1, 2, 3]
    assert (blob_index("7"), blob_index("mean"), blob_index("blob99999")) == (7, None, None)
    values = {"bn.mean": 1, "bn.var": 1, "a.b.0": 2, "whole": 3, "c.bias": 4}
    model = from_tensors({k: np.ones(n, np.float32) for k, n in values.items()})
    assert {s.name: len(s.blobs) for s in model.layers} == {"bn": 2, "a.b": 1, "whole": 1, "c": 1}
    assert list(to_tensors(model)) == ["bn.mean", "bn.var", "a.b.weight", "whole.weight", "c.bias"]


def test_a_layers_own_names_of_blobs(tmp_path: Path) -> None:
    """safetensors files lie in the order of the alphabet: the names tell Caffe's."""
    blobs = [np.full(2, i, np.float32) for i in range(3)]
    model = Model("m", [StoredLayer("bn", "BatchNorm", list(blobs), [None] * 3, names=["var", "mean", "factor"])])
    weights.write(tmp_path / "x.safetensors", model)
    assert bits(weights.read(tmp_path / "x.safetensors")) == bits(model)
    save_file(to_tensors(model), tmp_path / "y.safetensors")
    foreign = weights.read(tmp_path / "y.safetensors")
    assert foreign.layers[0].names == ["factor", "mean", "var"]
    found = match(foreign, {"bn": [(2,)] * 3}, names={"bn": ["var", "mean", "factor"]})
    np.testing.assert_array_equal(np.stack(found.loaded["bn"]), np.stack(blobs))


def test_checkpoints_and_half_precision(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    tensors = {"a.weight": torch.ones(2, dtype=torch.bfloat16), "a.bias": torch.ones(1, dtype=torch.float16)}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "x.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_torch(tensors, tmp_path / "x.safetensors")
    for name in ("x.pth", "old.pth", "x.safetensors"):
        blobs = weights.read(tmp_path / name).blobs()["a"]
        assert [b.dtype for b in blobs] == [np.float32] * 2
        assert [b.shape for b in blobs] == [(2,), (1,)]


def test_npz_of_plain_numbers(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **{"a.0": np.asfortranarray(np.arange(6.0).reshape(2, 3))})
    np.testing.assert_array_equal(npz.read(tmp_path / "x.npz").layers[0].blobs[0], np.arange(6.0).reshape(2, 3))


def test_mean_images(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name in ("m.binaryproto", "m.npy"):
        mean.write(tmp_path / name, values)
        np.testing.assert_array_equal(mean.read(tmp_path / name), values)
    np.save(tmp_path / "v.npy", np.array([104, 117, 123], np.uint8))
    assert mean.read(tmp_path / "v.npy").shape == (3, 1, 1)
    np.save(tmp_path / "w.npy", np.ones((2, 2)))
    with pytest.raises(SpecError, match="three axes, channels x height x width, not 2 x 2"):
        mean.read(tmp_path / "w.npy")
    with pytest.raises(SpecError, match="unknown suffix '.png' of a mean image"):
        mean.read(tmp_path / "m.png")


def test_mean_of_caffe() -> None:
    from golden_data import arrays, golden

    data = golden("files/data")
    np.testing.assert_array_equal(mean.read(data / "mean.binaryproto"), arrays(data / "datums.npz")["mean"][0])


def test_state_round_trip(tmp_path: Path) -> None:
    state = solverstate.State(7, 2, "x_iter_7.caffemodel", [np.ones((2, 3), np.float32), np.float32(2).reshape(())])
    for name in ("s.solverstate", "s.solverstate.h5"):
        solverstate.write(tmp_path / name, state)
        again = solverstate.read(tmp_path / name)
        assert (again.iter, again.current_step, again.learned_net) == (7, 2, "x_iter_7.caffemodel")
        assert [h.shape for h in again.history] == [(2, 3), ()]


def test_unknown_suffix() -> None:
    with pytest.raises(SpecError, match="unknown suffix '.cafemodel' of a weight file, did you mean '.caffemodel'"):
        weights.read("x.cafemodel")


def test_half_written_files_are_not_left(tmp_path: Path) -> None:
    weights.write(tmp_path / "x.pt", one())
    before = (tmp_path / "x.pt").read_bytes()
    model = Model("m", [StoredLayer("a", "", ["no array"])])  # type: ignore[list-item]
    with pytest.raises(AttributeError):
        weights.write(tmp_path / "x.pt", model)
    assert (tmp_path / "x.pt").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_a_net_is_stored_with_its_wiring_and_names(tmp_path: Path) -> None:
    source = """name: "wired"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }
    layer { name: "bias" type: "Bias" bottom: "data" top: "moved" }
    layer { name: "act" type: "PReLU" bottom: "data" top: "act" }"""
    net = Net(lower(text.parse(source, "net.prototxt"), "TEST"))
    weights.write(tmp_path / "net.safetensors", net.to_model())
    weights.write(tmp_path / "net.caffemodel", net.to_model())
    with safe_open(str(tmp_path / "net.safetensors"), "numpy") as file:
        assert sorted(file.keys()) == sorted(net.state_dict())
    stored = weights.read(tmp_path / "net.caffemodel").net
    assert [(s.name, s.type) for s in stored.layer][:2] == [("data", "Input"), ("data_data_0_split", "Split")]
    assert list(stored.layer[2].bottom) == ["data_data_0_split_0"]
