"""The page of a training run in a real browser."""

from __future__ import annotations

from pathlib import Path

from browser.chrome import Chrome
from PIL import Image

from netspec.report.page import Run, page
from netspec.report.recipe import Setting
from netspec.report.samples import Sample, url


def test_it_opens_clean(chrome: Chrome, tmp_path: Path) -> None:
    records = [{"iteration": n, "loss": 2 / (n + 1), "smoothed_loss": 2 / (n + 1), "lr": 1e-3} for n in range(50)]
    records.append(
        {"iteration": 49, "test_net": 0, "loss": 1.0, "mean_iu": 0.5, "pixel_acc": 0.7, "iu": [0.9, 0.1, None]}
    )
    red = url(Image.new("RGB", (40, 30), (200, 30, 30)), "PNG")
    run = Run(
        "run", "finished", "now", 50, 50, records, [Setting("base_lr", "1", "2")], "x", [Sample(0, 0.5, red, red, red)]
    )
    (tmp_path / "report.html").write_text(page(run), encoding="utf-8")
    chrome.open(tmp_path / "report.html")
    assert chrome.complaints() == []
    assert chrome.js("[...document.images].every((i) => i.naturalWidth == 40)")
    assert chrome.js("document.querySelectorAll('.chart').length") == 4
    assert chrome.js("document.documentElement.scrollWidth") <= 1200
    assert chrome.js("getComputedStyle(document.querySelector('.differs')).backgroundColor") == "rgb(255, 241, 207)"
    chrome.scheme("dark")
    assert chrome.picture().getpixel((5, 5)) == (22, 25, 29)
