"""LeNet, as the repository has it, learns scikit-learn's digits from a database that `netspec data lmdb` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec.cli import main
from netspec.layers import Context
from netspec.solver import Solver

SOLVER = Path(__file__).parent.parent / "solvers" / "lenet.prototxt"
TRAINING, TESTING = 1397, 400


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A data root with `mnist/mnist_{train,test}_lmdb`: 1,797 digits of 8 x 8, enlarged to 28 x 28."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    (tmp_path / "mnist").mkdir()
    for name, rows in (("train", order[:TRAINING]), ("test", order[TRAINING:])):
        images = tmp_path / name
        images.mkdir()
        lines = []
        for row in rows:
            Image.fromarray((data.images[row] * 15.9375).astype(np.uint8)).save(images / f"{row}.png")
            lines.append(f"{row}.png {data.target[row]}\n")
        (tmp_path / f"{name}.txt").write_text("".join(lines))
        size = ["--resize-height", "28", "--resize-width", "28"]
        database = tmp_path / "mnist" / f"mnist_{name}_lmdb"
        command = ["data", "lmdb", str(tmp_path / f"{name}.txt"), str(images), str(database), "--gray", *size]
        assert main(command) == 0
    return tmp_path


def test_lenet_learns_digits(digits: Path) -> None:
    settings = {"test_iter": TESTING // 100, "test_initialization": False, "snapshot": 0}
    solver = Solver(SOLVER, overrides=settings, context=Context(data_root=digits, seed=1), seed=1)
    solver.step(200)
    (test,) = solver.test()
    assert solver.smoothed_loss < 0.3
    assert test["outputs"]["accuracy"] > 0.95
