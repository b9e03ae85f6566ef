"""Scores against a count by hand, pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.segmentation.metrics import Confusion


def by_hand(pairs, classes):
    """The scores by the formulas' words: loops over the labelled pixels."""
    seen = [(t, p) for t, p in pairs if t != 255]
    t = [sum(1 for a, _ in seen if a == k) for k in range(classes)]
    guessed = [sum(1 for _, b in seen if b == k) for k in range(classes)]
    hit = [sum(1 for a, b in seen if a == b == k) for k in range(classes)]
    union = [t[k] + guessed[k] - hit[k] for k in range(classes)]
    iu = [hit[k] / union[k] if union[k] else math.nan for k in range(classes)]
    there = [k for k in range(classes) if t[k]]
    present = [v for v in iu if not math.isnan(v)]
    total = sum(t)
    return {
        "pixel_acc": sum(hit) / total if total else math.nan,
        "mean_acc": sum(hit[k] / t[k] for k in there) / len(there) if there else math.nan,
        "mean_iu": sum(present) / len(present) if present else math.nan,
        "fw_iu": sum(t[k] * iu[k] for k in there) / total if total else math.nan,
        "iu": iu,
    }


def close(got, expected):
    assert got.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-12)


cases = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.one_of(st.integers(0, n - 1), st.just(255)), st.integers(0, n - 1)), max_size=40),
    )
)


@settings(deadline=None, derandomize=True)
@given(cases, st.integers(0, 40))
def test_scores_are_those_counted_by_hand(case, cut):
    classes, pairs = case
    first, second = Confusion(classes), Confusion(classes)
    for confusion, part in ((first, pairs[:cut]), (second, pairs[cut:])):
        truth = np.array([t for t, _ in part], dtype=np.uint8)
        confusion.update(truth, np.array([p for _, p in part], dtype=np.int64))
    first.merge(second)
    close(first.scores(), by_hand(pairs, classes))


def test_a_small_picture():
    confusion = Confusion(4)
    confusion.update(np.float32([[[[0, 0, 1], [1, 255, 1]]]]), np.array([[0, 1, 1], [1, 3, 2]]))
    scores = confusion.scores()
    assert confusion.counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    close(
        scores,
        {
            "pixel_acc": 3 / 5,
            "mean_acc": (1 / 2 + 2 / 3) / 2,
            "mean_iu": (1 / 2 + 2 / 4 + 0) / 3,
            "fw_iu": (2 * 1 / 2 + 3 * 2 / 4) / 5,
            "iu": [0.5, 0.5, 0.0, math.nan],
        },
    )


def test_nothing_counted_is_nan():
    confusion = Confusion(2)
    confusion.update(np.full((2, 2), 255), np.zeros((2, 2)))
    assert all(math.isnan(confusion.scores()[key]) for key in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu"))


@pytest.mark.parametrize(
    "label, prediction, message",
    [
        ([[3, 3]], [[0, 0]], r"label 3 at 2 pixels is no class, 0..2 are"),
        ([[-1, 0]], [[0, 0]], "label -1 at 1 pixels"),
        ([[0.5, 0]], [[0, 0]], "label 0.5"),
        ([[0, 0]], [[0, 3]], "prediction 3"),
        ([[np.nan, 0]], [[0, 0]], "label nan"),
        ([[0, 0]], [[0, 0, 0]], "label is 2, its prediction 3"),
    ],
)
def test_values_that_are_no_classes(label, prediction, message):
    confusion = Confusion(3)
    with pytest.raises(SpecError, match=message):
        confusion.update(np.array(label), np.array(prediction))
    assert not confusion.counts.any()


def test_merging_and_making_refuse_what_does_not_fit():
    with pytest.raises(SpecError, match="of 3 classes into those of 2"):
        Confusion(2).merge(Confusion(3))
    with pytest.raises(SpecError, match="at least 1"):
        Confusion(0)
