"""Coordinate maps against those Caffe computes, and the walk's rules."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from golden_data import golden_json

from netspec.errors import SpecError
from netspec.ir.coords import coord_map as a_map
from netspec.ir.coords import equal
from netspec.ir.lower import lower
from netspec.passes.bind import Bound, bind
from netspec.passes.coord_maps import coord_map, crop_offset, receptive_fields
from netspec.spec.builder import Builder

CAFFE = golden_json("files/spec/spec.json").get("coord_map", {})
Ends = tuple[str, str]
PROGRAMS: dict[str, Callable[[Builder, str], Ends]] = {}


def program(function: Callable[[Builder, str], Ends]) -> Callable[[Builder, str], Ends]:
    PROGRAMS[function.__name__] = function
    return function


def data_net() -> tuple[Builder, str]:
    net = Builder()
    (data,) = net.input("data", data=(1, 3, 100, 100))
    return net, data


def bound(net: Builder) -> Bound:
    return bind(lower(net.document()))


def conv(net: Builder, name: str, x: str, type: str = "Convolution", **settings: object) -> str:
    return net.layer(type, name, x, num_output=1, **settings)


@program
def conv_pool_conv(net: Builder, data: str) -> Ends:
    x = conv(net, "a", data, kernel_size=3, stride=2, pad=1)
    x = net.layer("Pooling", "b", x, kernel_size=2, stride=2)
    return conv(net, "c", x, kernel_size=5), data


@program
def up_to_data(net: Builder, data: str) -> Ends:
    x = conv(net, "c", data, kernel_size=5, stride=2, pad=0)
    return conv(net, "d", x, "Deconvolution", kernel_size=5, stride=2, pad=0), data


@program
def padding100(net: Builder, data: str) -> Ends:
    x = conv(net, "first", data, kernel_size=3, pad=100)
    for i in range(5):
        x = conv(net, f"conv{i}", x, kernel_size=3, pad=1)
        x = net.layer("ReLU", f"relu{i}", x, in_place=True)
        x = net.layer("Pooling", f"pool{i}", x, kernel_size=2, stride=2)
    x = conv(net, "fc6", x, kernel_size=7)
    return conv(net, "up", x, "Deconvolution", kernel_size=64, stride=32), data


@program
def rectangular(net: Builder, data: str) -> Ends:
    x = conv(net, "a", data, kernel_size=[3, 5], stride=[2, 1], pad=[1, 2])
    return conv(net, "b", x, "Deconvolution", kernel_size=[4, 3], stride=[2, 1], pad=[0, 1]), data


@program
def dilation(net: Builder, data: str) -> Ends:
    x = conv(net, "a", data, kernel_size=3, dilation=4, pad=3)
    return conv(net, "b", x, kernel_size=5, dilation=[1, 2], pad=1), data


@program
def crop_in_the_way(net: Builder, data: str) -> Ends:
    x = conv(net, "a", data, kernel_size=3, pad=10)
    x = net.layer("Crop", "c", x, data, axis=2, offset=[3, 4])
    return net.layer("ReLU", "r", x), data


@program
def two_branches(net: Builder, data: str) -> Ends:
    a = conv(net, "a", data, kernel_size=3, stride=2)
    b = net.layer("Pooling", "b", data, kernel_size=4, stride=2, pad=2)
    joined = net.layer("Eltwise", "sum", a, net.layer("Sigmoid", "s", a))
    return joined, net.layer("LRN", "norm", b)


@program
def same_top(net: Builder, data: str) -> Ends:
    return data, data


@program
def not_connected(net: Builder, data: str) -> Ends:
    (other,) = net.input("other", other=(1, 3, 100, 100))
    return net.layer("ReLU", "r", other), data


@program
def axis_mismatch(net: Builder, data: str) -> Ends:
    x = conv(net, "a", data, kernel_size=3, axis=2)
    return conv(net, "b", x, kernel_size=1), data


@program
def through_flatten(net: Builder, data: str) -> Ends:
    return net.layer("Flatten", "f", data), data


@program
def half_pixel(net: Builder, data: str) -> Ends:
    return conv(net, "c", data, kernel_size=2), data


@program
def scale_mismatch(net: Builder, data: str) -> Ends:
    return net.layer("Pooling", "p", data, kernel_size=3, stride=3), data


@program
def negative(net: Builder, data: str) -> Ends:
    return conv(net, "c", data, kernel_size=3), data


def listed(value: float | list[float]) -> list[Fraction]:
    return [Fraction(v) for v in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize("name", sorted(CAFFE))
def test_map_is_caffes(name: str) -> None:
    net, data = data_net()
    start, end = PROGRAMS[name](net, data)
    want = CAFFE[name]
    if "raises" in want:
        with pytest.raises(SpecError):
            coord_map(bound(net), start, end)
        return
    got = coord_map(bound(net), start, end)
    assert equal(got, a_map(want["axis"] or 1, listed(want["scale"]), listed(want["shift"])))


@pytest.mark.parametrize("name", sorted(set(CAFFE) - {"same_top"}))
def test_crop_offset_is_caffes(name: str) -> None:
    net, data = data_net()
    start, end = PROGRAMS[name](net, data)
    want = CAFFE[name]["crop"]
    if "raises" in want:
        with pytest.raises(SpecError):
            crop_offset(bound(net), start, end)
        return
    assert crop_offset(bound(net), start, end, want["axis"]) == want["offset"]


def test_map_goes_both_ways() -> None:
    net, data = data_net()
    x = conv(net, "c", data, kernel_size=3, stride=2)
    assert coord_map(bound(net), x, data) == a_map(1, [2, 2], [1, 1])
    assert coord_map(bound(net), data, x) == a_map(1, [Fraction(1, 2)] * 2, [Fraction(-1, 2)] * 2)


def test_ways_that_disagree_are_named() -> None:
    net, data = data_net()
    a = conv(net, "near", data, kernel_size=3)
    b = conv(net, "far", data, kernel_size=3, pad=1)
    cropped = net.layer("Crop", "crop", b, a, axis=2, offset=0)
    net.layer("Eltwise", "sum", a, cropped)
    message = r"layer 'near' \(Convolution\): two ways from 'data' to 'sum' disagree: times 1 plus -1 .* times 1 plus 0"
    with pytest.raises(SpecError, match=message):
        coord_map(bound(net), "sum", data)


def test_concat_follows_all_its_bottoms() -> None:
    net, data = data_net()
    a = conv(net, "a", data, kernel_size=3, pad=1)
    b = net.layer("Pooling", "b", data, kernel_size=3, stride=1, pad=1)
    x = net.layer("Concat", "join", a, b)
    assert crop_offset(bound(net), x, data) == [0]
    field = receptive_fields(bound(net))[bound(net).graph.last()["join"]]
    assert (field.size, field.stride, field.offset) == ((3, 3), (1, 1), (0, 0))


def test_reasons_against_a_crop() -> None:
    net, data = data_net()
    conv(net, "half", data, kernel_size=2, pad=1)
    conv(net, "small", data, kernel_size=3)
    conv(net, "strided", data, kernel_size=3, stride=2)
    b = bound(net)
    for blob, message in (
        ("half", "the offset would be 1/2; it must be whole, at least 0"),
        ("small", "the offset would be -1; it must be whole"),
        ("strided", "one cell covers 2 of the reference's"),
        ("smal", "the net has no blob 'smal', did you mean 'small'"),
    ):
        with pytest.raises(SpecError, match=message):
            crop_offset(b, blob, data)
    with pytest.raises(SpecError, match="correspond from axis 2 on, not from 1"):
        crop_offset(b, "small", data, axis=1)


def test_receptive_fields_of_vgg() -> None:
    """The 404 pixels and stride 32 of fc7; upsampling by 32 brings the stride back to 1."""
    net, data = data_net()
    x = data
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(depth):
            x = conv(net, f"conv{stage}_{i}", x, kernel_size=3, pad=100 if stage == 1 and i == 0 else 1)
        x = net.layer("Pooling", f"pool{stage}", x, kernel_size=2, stride=2)
    x = conv(net, "fc6", x, kernel_size=7)
    conv(net, "up", x, "Deconvolution", kernel_size=64, stride=32)
    b = bound(net)
    table = {blob.name: field for blob, field in receptive_fields(b).items()}
    assert (table["fc6"].size, table["fc6"].stride) == ((404, 404), (32, 32))
    assert table["fc6"].offset == (Fraction(25, 2),) * 2
    assert (table["up"].size, table["up"].stride, table["up"].offset) == ((436, 436), (1, 1), (-19, -19))
    assert table["data"].size == (1,)


def test_no_field_where_strides_differ_or_places_end() -> None:
    net, data = data_net()
    a = conv(net, "a", data, kernel_size=4, stride=4)
    b = net.layer("Crop", "b", conv(net, "c", data, kernel_size=3), a, axis=2)
    net.layer("Eltwise", "sum", a, b)
    net.layer("InnerProduct", "ip", data, num_output=2)
    names = {blob.name for blob in receptive_fields(bound(net))}
    assert names == {"data", "a", "b", "c"}
