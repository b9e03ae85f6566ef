"""Many pictures through a net: in order, together where they are of one size, each the same as alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import netspec
from netspec import weights
from netspec.cli import main
from netspec.errors import SpecError
from netspec.segmentation import infer
from netspec.segmentation.flow import Work, flow

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 7 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 5 kernel_size: 14 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "data" top: "score" crop_param { offset: 0 } }
"""
CLASSIFIER = (
    NET[: NET.index('layer { name: "up"')]
    + 'layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" '
    + 'inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }'
)
SIZES = [(30, 21), (24, 24), (30, 21), (17, 40), (24, 24), (30, 21), (24, 24)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A segmentation net, a classifier, and pictures of several sizes."""
    for name, text in (("net", NET), ("classifier", CLASSIFIER)):
        (tmp_path / f"{name}.prototxt").write_text(text)
        weights.write(tmp_path / f"{name}.caffemodel", netspec.load(tmp_path / f"{name}.prototxt").to_model())
    for number, (width, height) in enumerate(SIZES):
        pixels = np.random.randint(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"p{number}.png")
    return tmp_path


def run(folder: Path, *arguments: str | Path, net: str = "net") -> int:
    files = [folder / f"{net}.prototxt", "--weights", folder / f"{net}.caffemodel", "--out", folder / "out"]
    return main(["infer", *map(str, (*files, *arguments))])


def pictures(folder: Path) -> list[Path]:
    return [folder / f"p{n}.png" for n in range(len(SIZES))]


def test_together_as_alone_and_in_order(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, *pictures(small)) == 0
    together = capsys.readouterr().out
    labels = {p.name: np.asarray(Image.open(small / "out" / p.name)) for p in pictures(small)}
    alone = ""
    for path in pictures(small):
        assert run(small, path) == 0
        alone += capsys.readouterr().out
        np.testing.assert_array_equal(np.asarray(Image.open(small / "out" / path.name)), labels[path.name])
    assert together == alone
    assert {np.unique(label).size for label in labels.values()} != {1}


def test_a_classifier_takes_pictures_of_any_size_together(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, *pictures(small), net="classifier") == 0
    together = capsys.readouterr().out
    assert [line for line in together.splitlines() if not line.startswith(" ")] == [str(p) for p in pictures(small)]
    assert run(small, pictures(small)[3], net="classifier") == 0
    assert capsys.readouterr().out in together


def test_a_broken_picture_among_others(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = small / "p2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    assert run(small, *pictures(small)) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert str(broken) in err and "error:" in err
    assert [line.partition(":")[0] for line in out.splitlines()[::2]] == [
        str(p) for p in pictures(small) if p != broken
    ]
    assert len(list((small / "out").iterdir())) == 2 * (len(SIZES) - 1)


def test_a_picture_that_the_net_refuses(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = small / "tiny.png"
    Image.new("RGB", (3, 3)).save(tiny)
    assert run(small, tiny, small / "p0.png") == 1
    out, err = capsys.readouterr()
    assert f"the net refuses {tiny}" in err and f"{small / 'net.prototxt'}:" in err
    assert out.startswith(f"{small / 'p0.png'}:")


def test_two_pictures_of_one_name(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (20, 20)).save(small / "p0.jpg")
    assert run(small, small / "p0.png", small / "p0.jpg") == 1
    assert "would be written over" in capsys.readouterr().err
    assert not (small / "out").exists()


def test_a_net_that_needs_more_than_pictures(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = NET.replace('"data" type: "Input" top: "data"', '"data" type: "Input" top: "data" top: "other"')
    text += 'layer { name: "sum" type: "Eltwise" bottom: "score" bottom: "other" top: "sum" }'
    (small / "net.prototxt").write_text(text.replace("dim: 3 dim: 12", "dim: 5 dim: 12"))
    weights.write(small / "net.caffemodel", netspec.load(small / "net.prototxt").to_model())
    assert run(small, *pictures(small)) == 1
    assert capsys.readouterr().err.count("the net needs more than pictures: other") == 1


def test_an_interrupt(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(infer, "results", interrupt)
    assert run(small, *pictures(small)) == 130
    assert not [t for t in threading.enumerate() if t.name.startswith("netspec-flow")]


def test_a_net_that_looks_at_the_batch_gets_pictures_one_by_one(small: Path) -> None:
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "pool" top: "bn" batch_norm_param { use_global_stats: %s } }'
    for own, separate in (("false", False), ("true", True)):
        text = NET.replace('"Deconvolution" bottom: "pool"', '"Deconvolution" bottom: "bn"')
        (small / "bn.prototxt").write_text(text.replace('layer { name: "up"', norm % own + '\nlayer { name: "up"'))
        assert infer.runner(netspec.load(small / "bn.prototxt")).batches == separate
    assert infer.runner(netspec.load(small / "net.prototxt")).batches


def work(seen: list[int], refuse: int = 10**9) -> Work[int, int]:
    """Job n is a picture of n % 3 + 1 pixels; its result is n."""

    def results(batch: np.ndarray) -> Sequence[int]:
        seen.append(len(batch))
        if len(batch) > 1 and len(batch) >= refuse or (batch == -1).any():
            raise SpecError("no")
        return batch[:, 0, 0, 0].tolist()

    def load(n: int) -> tuple[None, np.ndarray]:
        if n == 7:
            raise SpecError("broken")
        return None, np.full((1, 1, 1, n % 3 + 1), n)

    return Work(lambda n: n % 3 + 1, load, results, lambda n, kept, result: result)


@pytest.mark.parametrize(("window", "most"), [(1, 1), (20, 1), (20, 6), (1000, 1000)])
@pytest.mark.parametrize("refuse", [2, 10**9])
def test_flow_keeps_the_order(window: int, most: int, refuse: int) -> None:
    seen: list[int] = []
    done = list(flow(range(40), work(seen, refuse), window, most))
    assert [d if isinstance(d, int) else str(d) for d in done] == [n if n != 7 else "error: broken" for n in range(40)]
    assert max(seen) <= max(most, 1)
    assert (max(seen) > 1) == (most > 1)


def test_flow_reads_no_further_ahead_than_some_windows() -> None:
    taken: list[int] = []

    def jobs() -> Any:
        for n in range(100):
            taken.append(n)
            yield 0

    plain = Work[int, Any](lambda n: 5, lambda n: (None, torch.zeros(1, 1, 1, 5).numpy()), list, lambda *a: None)
    coming = flow(jobs(), plain, 20, 5)
    next(coming)
    assert len(taken) <= 16
    coming.close()
