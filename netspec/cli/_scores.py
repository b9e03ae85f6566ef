"""Segmentation scores for people: one line per score set, and a table of classes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

from rich.console import Console
from rich.table import Table

WORDS = (("pixel_acc", "pixel acc."), ("mean_acc", "mean acc."), ("mean_iu", "mean IU"), ("fw_iu", "f.w. IU"))


def line(scores: Mapping[str, Any]) -> str:
    """`pixel acc. 90.3  mean acc. 75.9  mean IU 62.7  f.w. IU 83.2`, in per cent as the papers print them."""
    return "  ".join(f"{word} {100 * scores[key]:.1f}" for key, word in WORDS)


def table(console: Console, scores: Mapping[str, Any]) -> None:
    """IU of every class that occurs."""
    from netspec.segmentation.palette import class_names

    rows = Table(box=None, header_style="bold", pad_edge=False)
    rows.add_column("class")
    rows.add_column("IU", justify="right")
    for name, iu in zip(class_names(len(scores["iu"])), scores["iu"], strict=True):
        if not isnan(iu):
            rows.add_row(name, f"{100 * iu:.1f}")
    console.print(rows)
