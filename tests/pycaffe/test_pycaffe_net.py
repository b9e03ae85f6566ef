"""Net: ways to make one, to run it, to load and save it."""

from __future__ import annotations

import numpy as np
import pytest
from texts import IMAGES, REGRESSION, conv, layer, source

import netspec.pycaffe as caffe
from netspec.errors import SpecError


def test_old_and_new_arguments(make, tmp_path):
    file = make(IMAGES)
    first = caffe.Net(file, caffe.TEST)
    weights = str(tmp_path / "w.caffemodel")
    first.save(weights)
    for net in (
        caffe.Net(file, weights, caffe.TEST),
        caffe.Net(file, caffe.TEST, weights=weights),
        caffe.Net(file, caffe.TEST, 0, None, weights),
        caffe.Net(network_file=file, weights=weights, phase=caffe.TEST),
    ):
        np.testing.assert_array_equal(net.params["conv1"][0].data, first.params["conv1"][0].data)
    with pytest.raises(TypeError, match="wants a phase"):
        caffe.Net(file)
    with pytest.raises(SpecError, match="cannot read"):
        caffe.Net("missing.prototxt", caffe.TEST)


def test_level_and_stages(make):
    rule = 'include { stage: "deploy" min_level: 2 }'
    file = make(source("data", 1, 2) + layer("ReLU", "r", "data", "r", rule))
    assert list(caffe.Net(file, caffe.TEST).blobs) == ["data"]
    assert list(caffe.Net(file, caffe.TEST, level=2, stages=["deploy"]).blobs) == ["data", "r"]


def test_names(net):
    n = net(REGRESSION)
    assert list(n.blobs) == ["data", "label", "ip1", "ip2", "loss"]
    assert n.inputs == ["data", "label"] and n.outputs == ["loss"]
    assert list(n.params) == ["ip1", "ip2"] and [len(p) for p in n.params.values()] == [2, 2]
    assert n._layer_names == ["data", "label", "ip1", "relu_ip1", "ip2", "loss"]
    assert n.bottom_names["loss"] == ["ip2", "label"] and n.top_names["relu_ip1"] == ["ip1"]
    assert n.layer_dict["ip1"].type == "InnerProduct" and n.layers[3].type == "ReLU"
    assert n.layer_dict["ip1"].blobs[0] is n.params["ip1"][0]
    assert n._blob_names[n._inputs[1]] == "label" and [n._blob_names[i] for i in n._bottom_ids(5)] == ["ip2", "label"]
    assert n._blobs[0] is n.blobs["data"] and n._top_ids(5) == n._outputs


def test_forward_by_range_and_by_name(net):
    n = net(IMAGES)
    n.forward(data=np.ones((1, 3, 12, 10)))
    conv1 = n.blobs["conv1"].data.copy()
    n.blobs["pool1"].data[...] = 0
    assert set(n.forward(start="score")) == {"score"}
    assert n.blobs["score"].data.std(axis=(2, 3)).max() < 1e-6
    assert set(n.forward(end="pool1")) == {"pool1"}
    assert set(n.forward(blobs=["conv1"], start="pool1")) == {"conv1", "score"}
    np.testing.assert_array_equal(n.blobs["conv1"].data, conv1)


def test_what_forward_refuses(net):
    n = net(REGRESSION)
    with pytest.raises(SpecError, match=r"the net's inputs are \['data', 'label'\]; found \['data'\]"):
        n.forward(data=np.zeros((4, 3)))
    with pytest.raises(SpecError, match="batch size 4"):
        n.forward(data=np.zeros((3, 3)), label=np.zeros((4, 2)))
    with pytest.raises(SpecError, match="no layer 'ip3', did you mean 'ip2'"):
        n.forward(end="ip3")
    with pytest.raises(SpecError, match="no blob 'ip', did you mean"):
        n.forward(blobs=["ip"])
    with pytest.raises(SpecError, match=r"outputs are \['loss'\]"):
        n.backward(ip2=np.zeros((4, 2)))


def test_errors_are_those_that_scripts_catch(net):
    n = net(IMAGES)
    for call, error in (
        (lambda: n.forward(start="nothing"), ValueError),
        (lambda: n.backward(end="nothing"), ValueError),
        (lambda: n.forward(blobs=["nothing"]), KeyError),
        (lambda: n.backward(diffs=["nothing"]), KeyError),
        (lambda: n.blobs["nothing"], KeyError),
        (lambda: caffe.Net("nothing.prototxt", caffe.TEST), RuntimeError),
        (lambda: caffe.Net("net.prototxt", "nothing.caffemodel", caffe.TEST), RuntimeError),
        (lambda: n.set_input_arrays(np.zeros((1, 3, 2, 2)), np.zeros(1)), RuntimeError),
    ):
        with pytest.raises(error, match="nothing|MemoryData"):
            call()


def test_backward_needs_no_forward(net):
    """A layer that did not run yet goes by its blobs as they are."""
    n = net(
        "force_backward: true " + source("data", 1, 3) + layer("Power", "y", "data", "", "power_param { scale: 3 }")
    )
    n.blobs["y"].data[...] = 7
    n.blobs["y"].diff[...] = 2
    assert n.backward()["data"].tolist() == [[6, 6, 6]]
    assert (n.blobs["y"].data == 7).all()


def test_layers_without_bottoms_learn(net):
    text = layer("Parameter", "p", settings="parameter_param { shape { dim: 2 } }")
    n = net(text + layer("Reduction", "loss", "p", "", "reduction_param { coeff: 3 } loss_weight: 1"), caffe.TRAIN)
    n.forward()
    n.backward()
    assert n.params["p"][0].diff.tolist() == [3, 3]


def test_the_names_below_the_wrapper(net):
    n = net(
        "force_backward: true " + source("data", 2, 3) + layer("Power", "y", "data", "", "power_param { scale: 3 }")
    )
    assert [len(b["data"]) for b in n._batch({"data": np.ones((5, 3))})] == [2, 2, 2]
    n.blobs["data"].data[...] = 1
    n._forward(0, 1)
    n.blobs["y"].diff[...] = 1
    n._backward(1, 0)
    assert (n.blobs["y"].data == 3).all() and (n.blobs["data"].diff == 3).all()


def test_backward_by_range_and_by_name(net):
    n = net("force_backward: true " + IMAGES)
    n.forward(data=np.random.randn(1, 3, 12, 10))
    back = n.backward(diffs=["conv1"], score=np.ones((1, 2, 6, 5)))
    assert set(back) == {"data", "conv1"} and back["data"].any()
    n.blobs["data"].diff[...] = 0
    assert set(n.backward(end="pool1")) == {"conv1"}
    assert not n.blobs["data"].diff.any()
    n.backward(start="relu_conv1")
    assert n.blobs["data"].diff.any()


def test_any_number_of_items(net):
    n = net(
        "force_backward: true " + source("data", 4, 3) + layer("Power", "y", "data", "", "power_param { scale: 3 }")
    )
    rows = np.random.randn(10, 3).astype(np.float32)
    np.testing.assert_allclose(n.forward_all(data=rows)["y"], 3 * rows, rtol=1e-6)
    values, gradients = n.forward_backward_all(data=rows, y=rows)
    np.testing.assert_allclose(values["y"], 3 * rows, rtol=1e-6)
    np.testing.assert_allclose(gradients["data"], 3 * rows, rtol=1e-6)
    n.blobs["y"].diff[...] = 1
    values, gradients = n.forward_backward_all(diffs=["y"], data=rows)
    assert values["y"].shape == gradients["y"].shape == (10, 3) and (gradients["data"] == 3).all()


def test_callbacks(net):
    n = net("force_backward: true " + IMAGES)
    calls = []
    for event in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(n, event)(lambda number, event=event: calls.append((event, number)))
    n.forward(start="score")
    n.backward(end="score")
    last = len(n.layers) - 1
    assert calls == [
        (f"{when}_{way}", number)
        for way in ("forward", "backward")
        for number in [last]
        for when in ("before", "after")
    ]


@pytest.mark.parametrize("suffix", ["caffemodel", "h5"])
def test_save_and_load(net, tmp_path, suffix):
    n, other = net(IMAGES), net(IMAGES)
    n.params["score"][1].data[...] = 5
    file = str(tmp_path / f"w.{suffix}")
    n.save_hdf5(file) if suffix == "h5" else n.save(file)
    other.load_hdf5(file) if suffix == "h5" else other.copy_from(file)
    for name in n.params:
        for mine, theirs in zip(n.params[name], other.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_share_with(net):
    a, b = net(IMAGES), net(IMAGES)
    b.share_with(a)
    a.params["conv1"][0].data[...] = 3
    assert (b.params["conv1"][0].data == 3).all()
    with pytest.raises(SpecError, match="in the net that shares it"):
        net(IMAGES.replace("num_output: 4", "num_output: 5")).share_with(a)


def test_memory_data_takes_arrays(net):
    data = "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }"
    n = net(layer("MemoryData", "in", "", "data label", data) + layer("ReLU", "y", "data"))
    x = np.random.randn(4, 1, 1, 3).astype(np.float32)
    n.set_input_arrays(x, np.arange(4, dtype=np.float32))
    n.forward()
    n.forward()
    np.testing.assert_array_equal(n.blobs["data"].data, x[2:])
    assert n.blobs["label"].data.ravel().tolist() == [2, 3]
    with pytest.raises(SpecError, match="MemoryData"):
        net(IMAGES).set_input_arrays(x, x)


def test_values_are_those_of_the_net_itself(net, tmp_path):
    """The layered run and netspec.load's give the same."""
    import torch

    import netspec

    n = net(IMAGES)
    n.save(str(tmp_path / "w.caffemodel"))
    core = netspec.load(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
    x = np.random.randn(1, 3, 12, 10).astype(np.float32)
    with torch.no_grad():
        want = core(data=torch.from_numpy(x))["score"]
    np.testing.assert_allclose(n.forward(data=x)["score"], want.numpy(), rtol=1e-5, atol=1e-6)


def test_package_names(caplog):
    assert caffe.__version__ == "1.0.0" and (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert "Convolution" in caffe.layer_type_list()
    assert not caffe.has_nccl() and caffe.solver_count() == 1 and caffe.solver_rank() == 0
    for name in dir(caffe):
        assert getattr(caffe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nett'"):
        _ = caffe.Nett
    with pytest.raises(SpecError, match="torchrun"):
        caffe.NCCL()
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert timer.ms >= 0


def test_seed(net):
    values = []
    for _ in range(2):
        caffe.set_random_seed(7)
        values.append(net(source("data", 1, 2, 4, 4) + conv("c", "data", 3)).params["c"][0].data.copy())
    np.testing.assert_array_equal(*values)


def test_mode_without_a_gpu(caplog, net, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level("WARNING"):
        caffe.set_device(0)
        caffe.set_mode_gpu()
    assert "run on the CPU" in caplog.text
    assert net(IMAGES).forward()["score"].shape == (1, 2, 6, 5)
    caffe.set_mode_cpu()


def test_weights_under_any_name(net):
    n, other = net(IMAGES), net(IMAGES)
    n.save("binary.weights.iter_10")
    n.save_hdf5("table.weights")
    for load, name in ((other.copy_from, "binary.weights.iter_10"), (other.load_hdf5, "table.weights")):
        other.params["score"][0].data[...] = 0
        load(name)
        np.testing.assert_array_equal(other.params["score"][0].data, n.params["score"][0].data)
