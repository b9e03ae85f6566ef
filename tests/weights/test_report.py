"""What loads into what: Caffe's own verdicts, and the causes named for misfits."""

from __future__ import annotations

import numpy as np
import pytest
from golden_data import arrays, golden, golden_json

from netspec import weights
from netspec.errors import SpecError
from netspec.weights.model import Model, StoredLayer
from netspec.weights.report import LoadReport, match

LOADS = golden_json("files/models/loads.json")
OLD = {
    "data": [],
    "conv1": [(6, 3, 3, 3), (6,)],
    "relu1": [],
    "pool1": [],
    "fc2": [(5, 96), (5,)],
    "fc3": [(3, 5)],
}
KINDS = {
    "data": [],
    "conv": [(4, 3, 3, 3), (4,)],
    "bn": [(4,), (4,), (1,)],
    "scale": [(4,), (4,)],
    "prelu": [(4,)],
    "side": [(4, 4, 1, 1)],
    "twin": [(4, 4, 1, 1), (4,)],
    "sum": [],
    "up": [(4, 1, 4, 4)],
    "pool": [],
    "ip": [(5, 64), (5,)],
    "bias": [(5,)],
    "loss": [],
}
# The shapes that the nets of loads.json declare.
NETS = {
    "old_net.prototxt": OLD,
    "net.prototxt": KINDS,
    "partial.prototxt": {"data": [], "conv1": [(6, 3, 3, 3), (6,)], "conv_new": [(2, 6, 1, 1), (2,)]},
    "mismatch.prototxt": {"data": [], "conv1": [(6, 3, 5, 5), (6,)]},
    "nobias.prototxt": {"data": [], "conv1": [(6, 3, 3, 3)]},
    "count.prototxt": {"data": [], "conv1": [(6, 3, 9, 1), (6,)]},
    "fullconv.prototxt": {"data": [], "fc2": [(5, 3, 4, 4), (5,)]},
    "h5mismatch.prototxt": {"data": [], "conv": [(4, 3, 2, 2), (4,)]},
    "relu_now_ip.prototxt": {"data": [], "relu1": [(2, 192), (2,)]},
}


def report(case: dict, file: str) -> LoadReport:
    shared = {("twin", 0)} if case["net"] == "net.prototxt" else set()
    return match(weights.read(golden("files/models") / file), NETS[case["net"]], shared)


@pytest.mark.parametrize(("name", "case"), LOADS.items())
def test_golden_load(name: str, case: dict) -> None:
    if "check_failed" in case:
        with pytest.raises(SpecError):
            report(case, case["weights"][-1]).raise_on_wrong_shape()
        return
    values = arrays(golden("files/models") / case["values"])
    for file in case["weights"]:
        found = report(case, file)
        found.raise_on_wrong_shape()
    for layer, blobs in found.loaded.items():
        for i, blob in enumerate(blobs):
            if blob is not None:
                np.testing.assert_array_equal(blob, values[f"{layer}.{i}"])
    params = {k.rsplit(".", 1)[0] for k in values if not k.startswith(("input:", "output:"))}
    assert params == {*found.loaded, *found.missing}


def test_unexpected_layers_are_those_with_blobs() -> None:
    case = LOADS.get("v1") or pytest.skip("no golden data")
    found = report(case, "v1.caffemodel")
    assert found.unexpected == ["extra"]
    partial = report(LOADS["new_layer_keeps_values"], "v1.caffemodel")
    assert (partial.missing, partial.unexpected) == (["conv_new"], ["fc2", "fc3", "extra"])
    assert partial.summary() == [
        "loaded: 1: conv1",
        "missing (in the net, not in the file): 1: conv_new",
        "unexpected (in the file, not in the net): 3: fc2, fc3, extra",
    ]


def stored(**shapes: list[tuple[int, ...]]) -> Model:
    return Model("m", [StoredLayer(n, "", [np.zeros(s, np.float32) for s in all_]) for n, all_ in shapes.items()])


@pytest.mark.parametrize(
    ("file", "net", "cause"),
    [
        ((8, 98), (8, 2, 7, 7), "fully connected there, 7x7 convolution here: use `netspec transplant`"),
        ((1, 1, 8, 98), (8, 2, 7, 7), "fully connected there, 7x7 convolution here: use `netspec transplant`"),
        ((8, 98), (8, 3, 7, 7), "fully connected there, convolution here"),
        ((8, 2, 7, 7), (8, 98), "7x7 convolution there, fully connected here: use `netspec transplant`"),
        ((1000, 8), (21, 8), "1000 outputs there, 21 here: rename the layer to learn it anew"),
        ((8, 3, 5, 5), (8, 4, 5, 5), "3 inputs there, 4 here: another input or group"),
        ((8, 3, 5, 5), (8, 3, 3, 3), "kernel 5x5 there, 3x3 here"),
        ((8, 3), (3, 8), "transposed there"),
    ],
)
def test_cause(file: tuple[int, ...], net: tuple[int, ...], cause: str) -> None:
    assert match(stored(a=[file]), {"a": [net]}).wrong_shape[0].cause == cause


def test_all_misfits_at_once() -> None:
    found = match(stored(a=[(2, 3), (2,)], b=[(4,)]), {"a": [(2, 4), (2,)], "b": [(4,), (1,)]})
    assert found.loaded == {}
    with pytest.raises(SpecError) as caught:
        found.raise_on_wrong_shape()
    assert str(caught.value) == (
        "error: 2 blobs of another shape: layer 'a' blob 0: 2 x 3 in the file, 2 x 4 in the net (3 inputs there, "
        "4 here: another input or group); layer 'b' blob 1: none in the file, 1 in the net (the file has no such "
        "blob: another bias_term or layer type?)"
    )


def test_leading_ones_match_only_from_four_axes() -> None:
    assert list(match(stored(a=[(1, 1, 2, 3), (1, 1, 1, 2)]), {"a": [(2, 3), (2,)]}).loaded) == ["a"]
    assert match(stored(a=[(1, 2)]), {"a": [(2,)]}).wrong_shape


def test_a_shared_blob_may_be_absent() -> None:
    model = Model("m", [StoredLayer("a", "", [None, np.zeros(2, np.float32)]), StoredLayer("b", "")])
    found = match(model, {"a": [(3,), (2,)], "b": [(3,)]}, {("b", 0)})
    assert found.loaded["a"][0] is None
    assert found.loaded["b"] == [None]
    assert found.wrong_shape == []
