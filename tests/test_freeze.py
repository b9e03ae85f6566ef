"""freeze: the same values in the form the machine runs fastest, and nothing left to train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import netspec
from netspec import heap
from netspec.errors import SpecError
from netspec.frozen import freeze
from netspec.layers import Context, packed
from netspec.layers.deconvolution import bilinear_diagonal, interpolate
from netspec.layers.window import Window
from netspec.net import Net

PROTOTXT = Path(__file__).parents[1] / "prototxt"
SLIM = Path(__file__).parent / "golden/nets/slim/voc-fcn8s/net.prototxt"


def slim(shape: tuple[int, ...]) -> Net:
    """A slim FCN-8s with weights that mean something."""
    net = netspec.load(SLIM, shapes={"data": shape, "label": (shape[0], 1, *shape[2:])})
    for name, p in net.named_parameters():
        if name.startswith("up"):
            line = 1 - (torch.arange(p.shape[-1]) - (p.shape[-1] - 1) / 2).abs() / ((p.shape[-1] + 1) // 2)
            p.data.zero_()
            p.data[range(len(p)), range(len(p))] = line[:, None] * line
        elif p.ndim == 4:
            torch.nn.init.kaiming_normal_(p.data)
        else:
            torch.nn.init.normal_(p.data, std=0.3)
    return net


@pytest.mark.parametrize("size", [(1, 3, 60, 70), (2, 3, 65, 51)])
def test_frozen_values(size: tuple[int, ...]) -> None:
    net, x = slim(size), torch.randn(size) * 60
    with torch.inference_mode():
        want = net(data=x, blobs=["score", "pool3", "fc7"])
        got = freeze(net)(data=x, blobs=["score", "pool3", "fc7"])
        again = net(data=x[:, :, 5:, 3:], blobs=["score"])["score"]
    for name, value in want.items():
        assert (got[name] - value).abs().max() <= 1e-4 * value.abs().max(), name
    assert again.shape[2:] == (size[2] - 5, size[3] - 3)


def test_bf16_is_near_fp32_and_scores_in_float32() -> None:
    net, x = slim((1, 3, 60, 70)), torch.randn(1, 3, 60, 70) * 60
    with torch.inference_mode():
        want = net(data=x, blobs=["score"])["score"]
        got = freeze(net, "bf16")(data=x, blobs=["score"])["score"]
    assert got.dtype == torch.float32
    assert (got - want).abs().max() <= 0.05 * want.abs().max()


@pytest.mark.parametrize(("name", "shape"), [("lenet", (2, 1, 28, 28)), ("resnet50", (1, 3, 224, 224))])
def test_bf16_goes_together_with_layers_whose_weights_stay_float32(name: str, shape: tuple[int, ...]) -> None:
    net = netspec.load(PROTOTXT / name / "deploy.prototxt", shapes={"data": shape})
    for p in net.parameters():
        torch.nn.init.kaiming_normal_(p.data) if p.ndim > 1 else p.data.abs_().add_(0.1)
    blob = net.graph.layers[-1].bottoms[0].name
    x = torch.randn(shape)
    with torch.inference_mode():
        want = net(data=x, blobs=[blob])[blob]
        got = freeze(net, "bf16")(data=x, blobs=[blob])[blob]
    assert got.dtype == torch.float32
    assert (got - want).norm() <= 0.05 * want.norm()


def test_bf16_with_a_learned_upsampling() -> None:
    net, x = slim((1, 3, 60, 70)), torch.randn(1, 3, 60, 70) * 60
    for name, p in net.named_parameters():
        if name.startswith("up"):
            torch.nn.init.kaiming_normal_(p.data)
    with torch.inference_mode():
        want = net(data=x, blobs=["score"])["score"]
        got = freeze(net, "bf16")(data=x, blobs=["score"])["score"]
    assert (got - want).abs().max() <= 0.05 * want.abs().max()


def test_plain_weights_are_let_go() -> None:
    net = freeze(slim((1, 3, 60, 70)))
    assert "conv1_1.weight" not in net.state_dict()
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("holder", ["nobody", "parameter", "view", "array"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_that_somebody_holds_keep_their_values(
    holder: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "PART", 2**13)
    let_go: list[int] = []
    give_back = heap.let_go
    monkeypatch.setattr(heap, "let_go", lambda address, size: let_go.append(size) or give_back(address, size))
    net, x = slim((1, 3, 60, 70)), torch.randn(1, 3, 60, 70)
    parameters = [p for p in net.parameters() if p.ndim == 4]
    keep = {"nobody": lambda p: p.detach().clone(), "parameter": lambda p: p, "view": lambda p: p.detach()[1:]}
    held = [keep.get(holder, lambda p: p.detach().numpy())(p) for p in parameters]
    before = [torch.as_tensor(h).detach().clone() for h in held]
    with torch.inference_mode():
        want = net(data=x, blobs=["score"])["score"]
        del parameters
        got = freeze(net, precision)(data=x, blobs=["score"])["score"]
    assert (got - want).abs().max() <= (0.05 if precision == "bf16" else 1e-4) * want.abs().max()
    assert all(torch.equal(torch.as_tensor(h), b) for h, b in zip(held, before, strict=True))
    assert bool(let_go) == (holder == "nobody")


def test_a_shared_weight_is_kept_for_its_sharer(tmp_path: Path) -> None:
    conv = """layer { name: "%s" type: "Convolution" bottom: "x" top: "%s" param { name: "w" }
      convolution_param { num_output: 3 kernel_size: 3 bias_term: false weight_filler { type: "xavier" } } }"""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n'
        + conv % ("a", "a")
        + conv % ("b", "b")
    )
    net, x = netspec.load(path), torch.randn(1, 3, 9, 9)
    with torch.inference_mode():
        out = freeze(net)(x=x)
    torch.testing.assert_close(out["a"], out["b"])


def test_a_training_net_is_refused() -> None:
    net = netspec.load(SLIM, phase="TRAIN", shapes={"data": (1, 3, 60, 60), "label": (1, 1, 60, 60)})
    with pytest.raises(SpecError, match="TEST phase"):
        freeze(net)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (16, 8), (64, 32), (5, 3), (1, 1)])
@pytest.mark.parametrize("pad", [0, 1])
def test_interpolation_equals_the_transposed_convolution(kernel: int, stride: int, pad: int) -> None:
    line = 1 - (torch.arange(kernel) - (kernel - 1) / 2).abs() / ((kernel + 1) // 2)
    weight = torch.zeros(3, 3, kernel, kernel)
    weight[range(3), range(3)] = line[:, None] * line
    assert bilinear_diagonal(weight, 1)
    x = torch.randn(2, 3, 5, 7)
    if kernel == 1 and pad:
        return
    want = torch.conv_transpose2d(x, weight, None, stride, pad)
    got = interpolate(x, Window((kernel, kernel), (stride, stride), (pad, pad), (1, 1)))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fault", ["across", "scaled", "learned"])
def test_other_weights_are_not_taken_for_interpolation(fault: str, tmp_path: Path) -> None:
    net = slim((1, 3, 60, 60))
    step = next(s for s in net.steps if s.spec.name == "upscore2")
    weight = step.params()[0]
    if fault == "across":
        weight.data[0, 1] = weight.data[0, 0]
    elif fault == "scaled":
        weight.data *= 1.01
    else:
        weight = weight.clone().requires_grad_()
    x = torch.randn(1, 21, 4, 4)
    got = step.layer.forward([x], [weight])[0]
    torch.testing.assert_close(got, torch.conv_transpose2d(x, weight, None, 2))


def test_interpolation_can_be_switched_off() -> None:
    net = netspec.load(
        SLIM,
        context=Context(no_pass=frozenset({"interpolation"})),
        shapes={"data": (1, 3, 60, 60), "label": (1, 1, 60, 60)},
    )
    step = next(s for s in net.steps if s.spec.name == "upscore2")
    assert not step.layer.interpolates(Window((4, 4), (2, 2), (0, 0), (1, 1)), step.params()[0])  # type: ignore[attr-defined]
