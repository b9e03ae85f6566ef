"""MultiStageMeanfield, DenseCRF and the permutohedral lattice under them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from one_layer import layer, net, refused
from small_nets import conv, data, loss, run

from netspec.errors import SpecError
from netspec.layers.permutohedral import Lattice, filtered, norm_of, places, with_colours

THETAS = "theta_alpha: 16 theta_beta: 3 theta_gamma: 3"
SHAPES = [(1, 3, 4, 5)] * 3
BAD = [
    (THETAS, SHAPES, "num_iterations is missing or 0"),
    ("num_iterations: 2 theta_alpha: 1 theta_beta: 1", SHAPES, "theta_gamma must be given and above 0"),
    ("num_iterations: 2 theta_alpha: -1 theta_beta: 1 theta_gamma: 1", SHAPES, "theta_alpha must be given and above 0"),
    (f"num_iterations: 2 {THETAS} compatibility_mode: SEMI_METRIC", SHAPES, "SEMI_METRIC is not supported"),
    (
        f'num_iterations: 2 {THETAS} spatial_filter_weight: 1 spatial_filter_weights_str: "1 2 3"',
        SHAPES,
        "give spatial_filter_weight or spatial_filter_weights_str, not both",
    ),
    (f'num_iterations: 2 {THETAS} bilateral_filter_weights_str: "1 x"', SHAPES, "'1 x' must be numbers between spaces"),
    (f'num_iterations: 2 {THETAS} bilateral_filter_weights_str: "1 2"', SHAPES, "has 2 numbers for 3 classes"),
    (f"num_iterations: 2 {THETAS}", [(1, 3, 4, 5), (1, 2, 4, 5), (1, 3, 4, 5)], "must have the same four axes"),
    (f"num_iterations: 2 {THETAS}", [(1, 3, 4, 5), (1, 3, 4, 5), (1, 3, 5, 5)], "bottom 2 [1, 3, 5, 5] must have"),
    (f"num_iterations: 2 {THETAS}", SHAPES[:2], "has 2 bottoms and takes 3"),
]
BAD_CRF = [
    ("pos_w: 1", [(1, 3, 4, 5), (1, 1, 1, 2)], "pos_w, pos_xy_std must be given equally often"),
    ("bi_w: 1 bi_xy_std: 1", [(1, 3, 4, 5), (1, 1, 1, 2)], "bi_w, bi_xy_std, bi_rgb_std must be given equally often"),
    ("pos_w: 1 pos_xy_std: 0", [(1, 3, 4, 5), (1, 1, 1, 2)], "pos_xy_std [0.0] must be above 0"),
    ("bi_w: 1 bi_xy_std: 1 bi_rgb_std: 1", [(1, 3, 4, 5), (1, 1, 1, 2)], "bi_w and a third bottom, the images, go"),
    ("", [(1, 3, 4, 5), (1, 1, 1, 2), (1, 3, 4, 5)], "bi_w and a third bottom, the images, go together"),
    ("", [(1, 3, 4), (1, 1, 1, 2)], "must have four axes"),
    ("", [(1, 3, 4, 5), (1, 2)], "bottom 1 [1, 2] must be [1, 1, 1, 2]"),
    (
        "bi_w: 1 bi_xy_std: 1 bi_rgb_std: 1",
        [(1, 3, 4, 5), (1, 1, 1, 2), (1, 1, 4, 5)],
        "bottom 2 [1, 1, 4, 5] must be [1, 3, 4, 5]",
    ),
]


@pytest.mark.parametrize(("settings", "shapes", "message"), BAD)
def test_refused(settings, shapes, message):
    refused("MultiStageMeanfield", f"multi_stage_meanfield_param {{ {settings} }}", shapes, 1, message)


@pytest.mark.parametrize(("settings", "shapes", "message"), BAD_CRF)
def test_dense_crf_refused(settings, shapes, message):
    refused("DenseCRF", f"dense_crf_param {{ {settings} }}", shapes, 1, message)


def by_hand(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The lattice point by point, cells in a dictionary."""
    n, d = features.shape
    cells: dict[tuple[int, ...], np.ndarray] = defaultdict(lambda: np.zeros(values.shape[1]))
    splats = []
    for f, v in zip(features, values, strict=True):
        scaled = [x * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i, x in enumerate(f)]
        place = np.array([sum(scaled[j:]) - (j * scaled[j - 1] if j else 0) for j in range(d + 1)])
        base = np.round(place / (d + 1)).astype(int) * (d + 1)
        order = sorted(range(d + 1), key=lambda i: (base[i] - place[i], i))
        excess = base.sum() // (d + 1)
        for i in order[d + 1 - excess :] if excess > 0 else []:
            base[i] -= d + 1
        for i in order[:-excess] if excess < 0 else []:
            base[i] += d + 1
        rest = place - base
        down = sorted(range(d + 1), key=lambda i: -rest[i])
        gaps = [rest[down[k]] - rest[down[k + 1]] for k in range(d)]
        shares = [1 - (rest[down[0]] - rest[down[d]]) / (d + 1), *(g / (d + 1) for g in gaps[::-1])]
        corners = []
        for k, share in enumerate(shares):
            corner = base.copy()
            for rank, i in enumerate(down):
                corner[i] += k if rank < d + 1 - k else k - (d + 1)
            cells[tuple(corner)] += share * v
            corners.append((tuple(corner), share))
        splats.append(corners)
    for axis in range(d + 1):
        step = np.full(d + 1, 1)
        step[axis] -= d + 1
        old = dict(cells)
        zero = np.zeros(values.shape[1])
        for cell in old:
            near = [old.get(tuple(np.array(cell) + sign * step), zero) for sign in (-1, 1)]
            cells[cell] = old[cell] + (near[0] + near[1]) / 2
    return np.array([sum(share * cells[corner] for corner, share in corners) for corners in splats])


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_lattice_point_by_point(d):
    features, values = torch.rand(60, d) * 3 - 1, torch.randn(60, 2, dtype=torch.float64)
    got = Lattice(features).filter(values)
    assert np.allclose(got, by_hand(features.double().numpy(), values.numpy()), atol=1e-4)


@pytest.mark.parametrize("d", [2, 5])
def test_lattice_is_nearly_a_gaussian(d):
    features = torch.rand(1500, d) * 4
    values = torch.rand(1500, 1) + features[:, :1]
    kernel = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
    exact = kernel @ values / kernel.sum(1, keepdim=True)
    lattice = Lattice(features)
    got = lattice.filter(values) * norm_of(lattice)
    assert np.corrcoef(got.flatten(), exact.flatten())[0, 1] > 0.998
    assert (got - exact).abs().mean() < 0.05 * exact.std()


def test_lattice_width():
    """A point spreads with the variance that was asked for, 25 pixels squared, within a tenth or so."""
    lattice = Lattice(places((61, 61), 5.0, torch.device("cpu")))
    point = torch.zeros(61, 61)
    point[30, 30] = 1
    spread = lattice.filter(point.reshape(-1, 1)).reshape(61, 61)
    spread = spread / spread.sum()
    offset = (torch.arange(61.0) - 30) ** 2
    assert (spread.sum(0) * offset).sum() == pytest.approx(25, rel=0.15)
    assert (spread.sum(1) * offset).sum() == pytest.approx(25, rel=0.15)


def test_lattice_adjoint_and_pieces(monkeypatch):
    lattice = Lattice(with_colours(torch.rand(3, 6, 7), 3.0, 0.3))
    a, b = torch.randn(42, 5, dtype=torch.float64), torch.randn(42, 5, dtype=torch.float64)
    assert (b * lattice.filter(a)).sum() == pytest.approx((a * lattice.filter(b, adjoint=True)).sum().item())
    whole = lattice.filter(a)
    monkeypatch.setattr("netspec.layers.permutohedral.MOST_BYTES", 1)
    assert torch.equal(lattice.filter(a), whole)
    assert torch.autograd.gradcheck(lambda v: filtered(v, lattice), [a.requires_grad_()])


def test_lattice_limits():
    with pytest.raises(SpecError, match="so small that the lattice has too many cells to number"):
        Lattice(with_colours(torch.rand(3, 4, 4) * 255, 1e-3, 1e-4))
    with pytest.raises(SpecError, match="must be finite numbers"):
        Lattice(torch.full((3, 2), float("nan")))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


def mean_field(unary, first, image, weights, thetas, iterations) -> np.ndarray:
    """The iteration in numpy, C x pixels; only the filter itself is the lattice's."""
    size = image.shape[1:]
    lattices = [Lattice(places(size, thetas[2], image.device)), Lattice(with_colours(image, thetas[0], thetas[1]))]
    q = first.reshape(len(first), -1)
    u = unary.reshape(len(unary), -1)
    for _ in range(iterations):
        p = torch.from_numpy(softmax(q).T.copy())
        message = 0.0
        for w, lattice in zip(weights[:2], lattices, strict=True):
            ones = lattice.filter(torch.ones(p.shape[0], 1, dtype=p.dtype))
            message = message + w @ (lattice.filter(p) / ones).T.numpy()
        q = u - weights[2] @ message
    return q.reshape(unary.shape)


@pytest.mark.parametrize("iterations", [1, 3])
def test_mean_field(iterations):
    unary, first = (torch.randn(2, 3, 5, 6, dtype=torch.float64) for _ in range(2))
    image = torch.rand(2, 3, 5, 6) * 20
    weights = [torch.randn(1, 1, 3, 3, dtype=torch.float64) for _ in range(3)]
    settings = f"multi_stage_meanfield_param {{ num_iterations: {iterations} {THETAS} }}"
    one = layer("MultiStageMeanfield", settings, [unary.shape, first.shape, image.shape])
    top = one.forward([unary, first, image], weights)[0]
    for n in range(2):
        wanted = mean_field(
            unary[n].numpy(), first[n].numpy(), image[n], [w[0, 0].numpy() for w in weights], (16, 3, 3), iterations
        )
        assert np.allclose(top[n], wanted, atol=1e-5)


def test_mean_field_blobs():
    weights = 'spatial_filter_weight: 2 bilateral_filter_weights_str: "4 5 6"'
    built = net(
        "MultiStageMeanfield", f"multi_stage_meanfield_param {{ num_iterations: 2 {THETAS} {weights} }}", SHAPES
    )
    values = {name: p.detach() for name, p in built.named_parameters()}
    assert torch.equal(values["one.spatial"][0, 0], 2 * torch.eye(3))
    assert torch.equal(values["one.bilateral"][0, 0], torch.diag(torch.tensor([4.0, 5, 6])))
    assert torch.equal(values["one.compatibility"][0, 0], -torch.eye(3))
    plain = net("MultiStageMeanfield", f"multi_stage_meanfield_param {{ num_iterations: 2 {THETAS} }}", SHAPES)
    assert torch.equal(plain.get_parameter("one.spatial")[0, 0], 3 * torch.eye(3))
    assert torch.equal(plain.get_parameter("one.bilateral")[0, 0], 5 * torch.eye(3))


def test_mean_field_gradients():
    shapes = [(1, 2, 2, 3), (1, 2, 2, 3), (1, 1, 2, 3)]
    image = torch.rand(shapes[2]) * 10
    one = layer("MultiStageMeanfield", f"multi_stage_meanfield_param {{ num_iterations: 2 {THETAS} }}", shapes)
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes[:2]]
    inputs += [torch.randn(b.shape, dtype=torch.float64, requires_grad=True) for b in one.params(shapes)]
    assert torch.autograd.gradcheck(lambda u, q, *p: one.forward([u, q, image], list(p))[0], inputs)
    assert [one.gradient_to(i) for i in range(3)] == [True, True, False]


def test_mean_field_smooths_within_a_colour():
    """A wrong pixel is outvoted by its neighbours of the same colour, and an edge of colour stops them."""
    image = torch.zeros(1, 3, 12, 12)
    image[:, :, :, 6:] = 200
    unary = torch.full((1, 2, 12, 12), -1.0)
    unary[:, 0, :, :6], unary[:, 1, :, 6:] = 1, 1
    unary[0, :, 5, 2] = torch.tensor([-1.0, 1.0])
    built = net(
        "MultiStageMeanfield",
        f"multi_stage_meanfield_param {{ num_iterations: 5 {THETAS} }}",
        [(1, 2, 12, 12), (1, 2, 12, 12), (1, 3, 12, 12)],
    )
    label = built(b0=unary, b1=unary, b2=image)["t0"].argmax(1)[0]
    assert torch.equal(label, (image[0, 0] > 0).long())


def test_mean_field_of_another_size():
    built = net("MultiStageMeanfield", f"multi_stage_meanfield_param {{ num_iterations: 2 {THETAS} }}", SHAPES)
    for size in ((4, 5), (7, 3), (4, 5)):
        unary = torch.randn(1, 3, *size)
        assert built(b0=unary, b1=unary, b2=torch.rand(1, 3, *size))["t0"].shape == unary.shape


@pytest.mark.parametrize("probability", ["true", "false"])
def test_dense_crf(probability):
    scores, image = torch.randn(1, 3, 5, 6, dtype=torch.float64), torch.rand(1, 3, 5, 6) * 20
    settings = (
        f"max_iter: 3 pos_w: 2 pos_xy_std: 3 bi_w: 4 bi_xy_std: 16 bi_rgb_std: 3 output_probability: {probability}"
    )
    shapes = [scores.shape, (1, 1, 1, 2), image.shape]
    one = layer("DenseCRF", f"dense_crf_param {{ {settings} }}", shapes)
    top = one.forward([scores, torch.tensor([9.0, 9]).reshape(1, 1, 1, 2), image], [])[0]
    weights = [2 * np.eye(3), 4 * np.eye(3), -np.eye(3)]
    wanted = mean_field(scores[0].numpy(), scores[0].numpy(), image[0], weights, (16, 3, 3), 3)
    wanted = softmax(wanted.reshape(3, -1)).reshape(wanted.shape)
    assert np.allclose(top[0] if probability == "true" else top[0].exp(), wanted, atol=1e-5)
    assert not one.gradient_to(0)


def test_dense_crf_without_images_or_iterations():
    scores = torch.randn(2, 3, 4, 5)
    sizes = torch.tensor([[4.0, 5], [2, 3]]).reshape(2, 1, 1, 2)
    one = layer("DenseCRF", "dense_crf_param { max_iter: 0 }", [scores.shape, sizes.shape])
    top = one.forward([scores, sizes], [])[0]
    assert torch.allclose(top[0], scores[0].softmax(0)) and torch.allclose(
        top[1, :, :2, :3], scores[1, :, :2, :3].softmax(0)
    )
    assert not top[1, :, 2:].any() and not top[1, :, :, 3:].any()
    with pytest.raises(SpecError, match="an image of 9 x 2 does not fit scores of 4 x 5"):
        net("DenseCRF", "", [scores.shape, sizes.shape])(
            b0=scores, b1=torch.full((2, 1, 1, 2), 9.0).index_fill(3, torch.tensor([1]), 2.0)
        )


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_crf_rnn(phase):
    text = data("1 3 10 12") + conv("c1", "data", 6) + conv("coarse", "c1", 3, "kernel_size: 1")
    text += 'layer { name: "split" type: "Split" bottom: "coarse" top: "unary" top: "q0" }\n'
    text += 'layer { name: "crf" type: "MultiStageMeanfield" bottom: "unary" bottom: "q0" bottom: "data" top: "pred" '
    text += "param { lr_mult: 10000 } param { lr_mult: 10000 } param { lr_mult: 1000 } multi_stage_meanfield_param { "
    text += "num_iterations: 3 compatibility_mode: POTTS threshold: 2 theta_alpha: 160 theta_beta: 3 theta_gamma: 3 "
    text += "spatial_filter_weight: 3 bilateral_filter_weight: 5 } }\n"
    if phase == "TRAIN":
        text += data("1 1 10 12", "label") + loss("pred", "normalize: false")
    built = run(text, phase)
    assert built.blob_shapes[built.blob("pred")] == (1, 3, 10, 12)
