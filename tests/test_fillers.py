"""The seven fillers: what they draw, in moments and limits, for every variance norm."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from netspec import schema
from netspec.errors import LayerError
from netspec.fillers import FILLERS, fill

SHAPE = (40, 20, 5, 4)
FAN_IN, FAN_OUT = 20 * 5 * 4, 40 * 5 * 4
NORMS = {"": FAN_IN, "FAN_IN": FAN_IN, "FAN_OUT": FAN_OUT, "AVERAGE": (FAN_IN + FAN_OUT) / 2}


def filled(type: str, shape: tuple[int, ...] = SHAPE, variance_norm: str = "", **settings: Any) -> np.ndarray:
    filler = schema.new("FillerParameter", type=type, **settings)
    if variance_norm:
        filler.variance_norm = (
            schema.new("FillerParameter").DESCRIPTOR.enum_types[0].values_by_name[variance_norm].number
        )
    blob = torch.full(shape, torch.nan)
    fill(blob, filler, torch.Generator().manual_seed(7))
    return blob.numpy().astype(np.float64)


def drawn_from(values: np.ndarray, distribution: Any) -> bool:
    """Whether the Kolmogorov-Smirnov test would let this distribution pass."""
    return stats.kstest(values.ravel(), distribution.cdf).pvalue > 0.01


def test_these_are_all_fillers() -> None:
    assert set(FILLERS) == {"bilinear", "constant", "gaussian", "msra", "positive_unitball", "uniform", "xavier"}


def test_constant() -> None:
    assert (filled("constant") == 0).all()
    assert (filled("constant", value=0.25) == 0.25).all()


@pytest.mark.parametrize(("settings", "least", "most"), [({}, 0, 1), ({"min": -2, "max": 0.5}, -2, 0.5)])
def test_uniform(settings: dict[str, float], least: float, most: float) -> None:
    assert drawn_from(filled("uniform", **settings), stats.uniform(least, most - least))


@pytest.mark.parametrize(("settings", "mean", "std"), [({}, 0, 1), ({"mean": 3, "std": 0.01}, 3, 0.01)])
def test_gaussian(settings: dict[str, float], mean: float, std: float) -> None:
    assert drawn_from(filled("gaussian", **settings), stats.norm(mean, std))


def test_gaussian_sparse() -> None:
    """Of the values that one input reaches, `sparse` are not 0 on average: those of an output have no fixed number."""
    values = filled("gaussian", std=2, sparse=8)
    assert abs((values != 0).mean() - 8 / 40) < 3 * sqrt(0.2 * 0.8 / values.size)
    assert drawn_from(values[values != 0], stats.norm(0, 2))
    assert (filled("gaussian", sparse=0) == 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_xavier(norm: str) -> None:
    scale = sqrt(3 / NORMS[norm])
    assert drawn_from(filled("xavier", variance_norm=norm), stats.uniform(-scale, 2 * scale))


@pytest.mark.parametrize("norm", NORMS)
def test_msra(norm: str) -> None:
    assert drawn_from(filled("msra", variance_norm=norm), stats.norm(0, sqrt(2 / NORMS[norm])))


@pytest.mark.parametrize(("norm", "n"), [("FAN_IN", 1), ("FAN_OUT", 5000), ("AVERAGE", 2500.5)])
def test_one_axis_counts_as_one_column(norm: str, n: float) -> None:
    assert drawn_from(filled("msra", (5000,), variance_norm=norm), stats.norm(0, sqrt(2 / n)))


def test_positive_unitball() -> None:
    values = filled("positive_unitball")
    np.testing.assert_allclose(values.reshape(40, -1).sum(1), 1, rtol=1e-5)
    assert values.min() >= 0
    assert drawn_from(values[0] / values[0].max(), stats.uniform(0, 1))


@pytest.mark.parametrize(
    ("size", "line"),
    [(1, [1]), (2, [0.5, 0.5]), (3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25])],
)
def test_bilinear(size: int, line: list[float]) -> None:
    values = filled("bilinear", (3, 2, size, size))
    for kernel in values.reshape(-1, size, size):
        np.testing.assert_allclose(kernel, np.outer(line, line))


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 4), (16,)])
def test_bilinear_wants_a_square_kernel(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayerError, match="four axes and a square kernel"):
        filled("bilinear", shape)


def test_sparse_is_for_gaussian_alone() -> None:
    with pytest.raises(LayerError, match="sparse is for the gaussian filler"):
        filled("uniform", sparse=2)
