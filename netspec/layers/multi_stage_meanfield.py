"""MultiStageMeanfield: a dense CRF as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.layers.permutohedral import Lattice, norm_of, places, smooth, with_colours
from netspec.lazytorch import torch

WEIGHTS = {"spatial": 3.0, "bilateral": 5.0}


class MultiStageMeanfield(Layer):
    """Q_t+1 = U − compatibility · (spatial · G_s softmax(Q_t) + bilateral · G_b softmax(Q_t)); top = Q_T.

    U is bottom 0, Q_0 bottom 1, T num_iterations; matrices act on the classes of each pixel. G filters over all pixels,
    divided by what it makes of ones: G_s with a Gaussian of standard deviation theta_gamma in x and y (pixels), G_b
    with one of theta_alpha in x and y and theta_beta in the colours of bottom 2.
    Shapes: U and Q_0 (N x C x H x W), image (N x any x H x W) -> N x C x H x W.
    Blobs: spatial, bilateral, compatibility (1 x 1 x C x C): diagonals of spatial_filter_weight and
        bilateral_filter_weight (or the _weights_str, one number or one per class; 3 and 5 if neither is given), and −1.
    Errors: num_iterations of 0; a theta that is missing or not above 0; weights given twice, or not one per class;
        compatibility_mode SEMI_METRIC; bottoms that do not match.
    Source: CRF-RNN (Zheng et al. 2015). No gradient flows to the image; `threshold` changes nothing there.
        The filters are those of the permutohedral lattice, as published: time grows with N · H · W · (C + 6) · T,
        memory with H · W · (C + 12); an image of 500 x 500 with 21 classes
        and T = 10 takes about half a minute on one core.
    """

    settings = "multi_stage_meanfield_param"
    bottoms = (3, 3)
    reusable_top = True

    def setup(self) -> None:
        p = self.p
        if p.num_iterations < 1:
            raise self.fail("num_iterations is missing or 0", "num_iterations")
        if schema.enum_name(p, "compatibility_mode") != "POTTS":
            raise self.fail("compatibility_mode SEMI_METRIC is not supported; give POTTS", "compatibility_mode")
        for name in ("theta_alpha", "theta_beta", "theta_gamma"):
            if not getattr(p, name) > 0:
                raise self.fail(f"{name} must be given and above 0", name)
        self.weights = {kind: self.filter_weights(kind) for kind in WEIGHTS}
        self.spatial: tuple[Any, Lattice, torch.Tensor] | None = None

    def filter_weights(self, kind: str) -> list[float]:
        """One weight, or one per class."""
        p, name, words = self.p, f"{kind}_filter_weight", f"{kind}_filter_weights_str"
        if not p.HasField(words):
            return [WEIGHTS[kind] if getattr(p, name) == -1 else getattr(p, name)]
        if p.HasField(name):
            raise self.fail(f"give {name} or {words}, not both", name)
        try:
            return [float(word) for word in getattr(p, words).split()] or [WEIGHTS[kind]]
        except ValueError:
            raise self.fail(f"{words} '{getattr(p, words)}' must be numbers between spaces", words) from None

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        unary, first, image = bottoms
        if len(unary) != 4 or first != unary:
            raise self.fail(f"bottoms {list(unary)} and {list(first)} must have the same four axes")
        if len(image) != 4 or (image[0], *image[2:]) != (unary[0], *unary[2:]):
            raise self.fail(f"bottom 2 {list(image)} must have the images, height and width of bottom 0 {list(unary)}")
        for kind, weights in self.weights.items():
            if len(weights) not in (1, unary[1]):
                name = f"{kind}_filter_weights_str"
                raise self.fail(f"{name} has {len(weights)} numbers for {unary[1]} classes", name)
        return [unary]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        classes = bottoms[0][1]
        diagonals = {**self.weights, "compatibility": [-1.0]}
        return [
            ParamBlob(name, (1, 1, classes, classes), value=diagonal(values, classes))
            for name, values in diagonals.items()
        ]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = zip(*bottoms, strict=True)
        return [torch.stack([self.one(unary, first, image, params) for unary, first, image in rows])]

    def one(
        self, unary: torch.Tensor, first: torch.Tensor, image: torch.Tensor, params: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The mean field of one image, C x H x W."""
        near = self.near(unary)
        features = with_colours(image, self.p.theta_alpha, self.p.theta_beta)
        alike = Lattice(features)
        kernels = [near, (alike, norm_of(alike))]
        *weights, compatibility = (p[0, 0] for p in params)
        q = first
        for _ in range(self.p.num_iterations):
            p = q.softmax(0)
            messages = [torch.tensordot(w, smooth(p, *k), 1) for w, k in zip(weights, kernels, strict=True)]
            q = unary - torch.tensordot(compatibility, messages[0] + messages[1], 1)
        return q

    def near(self, unary: torch.Tensor) -> tuple[Lattice, torch.Tensor]:
        """The spatial kernel, which only the size decides; the last one is kept."""
        key = (*unary.shape[1:], unary.device)
        if self.spatial is None or self.spatial[0] != key:
            lattice = Lattice(places(unary.shape[1:], self.p.theta_gamma, unary.device))
            self.spatial = (key, lattice, norm_of(lattice))
        return self.spatial[1:]

    def gradient_to(self, bottom: int) -> bool:
        return bottom != 2

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        n, c, h, w = tops[0]
        kernels = (2, 2 + bottoms[2][1])
        filters = sum((2 + 2) * (d + 1) * c for d in kernels)
        return self.p.num_iterations * n * h * w * (filters + 3 * c * c)


def diagonal(values: Sequence[float], size: int) -> np.ndarray:
    """A square matrix with these values (one for all, or one each) on its diagonal, 1 x 1 x size x size."""
    return np.diag(np.broadcast_to(np.asarray(values, np.float32), (size,)))[None, None]
