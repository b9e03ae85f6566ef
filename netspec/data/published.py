"""The data layers of the published FCN nets by their Python names: (module, layer, param_str) to a source of blobs."""

from __future__ import annotations

import ast
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.data import nyud, siftflow
from netspec.data.classes import VOC_CLASSES
from netspec.data.dataset import Dataset, FileDataset, locate
from netspec.data.order import RandomDraw, Sequential
from netspec.data.pascalcontext import pascalcontext
from netspec.data.sbdd import sbdd
from netspec.data.stream import Stream
from netspec.data.voc import voc
from netspec.errors import LayerError, SpecError, suggestion

Params = dict[str, Any]
LONGEST_PARAM_STR = 10_000
DEFAULTS: Params = {"randomize": True, "seed": None, "classes": len(VOC_CLASSES)}


@dataclass(frozen=True)
class Published:
    """One published layer: its data set, its folder keys with the name for `netspec data get`, its further keys."""

    name: str
    folders: Mapping[str, str]
    keys: tuple[str, ...]
    tops: Callable[[Params], Sequence[str]]
    open: Callable[[dict[str, Path], Params], FileDataset]

    @property
    def known(self) -> tuple[str, ...]:
        return ("split", "randomize", "seed", *self.folders, *self.keys)


def _data_and_label(_: Params) -> Sequence[str]:
    return ("data", "label")


PUBLISHED: dict[tuple[str, str], Published] = {
    ("voc_layers", "VOCSegDataLayer"): Published(
        "PASCAL VOC",
        {"voc_dir": "voc2011"},
        ("mean", "classes"),
        _data_and_label,
        lambda at, p: voc(at["voc_dir"], p["split"], p["mean"], p["classes"]),
    ),
    ("voc_layers", "SBDDSegDataLayer"): Published(
        "SBDD",
        {"sbdd_dir": "sbdd"},
        ("mean", "classes"),
        _data_and_label,
        lambda at, p: sbdd(at["sbdd_dir"], p["split"], p["mean"], p["classes"]),
    ),
    ("nyud_layers", "NYUDSegDataLayer"): Published(
        "NYUDv2",
        {"nyud_dir": "nyud"},
        ("tops",),
        lambda p: p["tops"],
        lambda at, p: nyud.nyud(at["nyud_dir"], p["split"], p["tops"]),
    ),
    ("siftflow_layers", "SIFTFlowSegDataLayer"): Published(
        "SIFT Flow",
        {"siftflow_dir": "siftflow"},
        (),
        lambda _: siftflow.TOPS,
        lambda at, p: siftflow.siftflow(at["siftflow_dir"], p["split"]),
    ),
    ("pascalcontext_layers", "PASCALContextSegDataLayer"): Published(
        "PASCAL-Context",
        {"voc_dir": "voc2010", "context_dir": "pascal-context"},
        (),
        _data_and_label,
        lambda at, p: pascalcontext(at["voc_dir"], at["context_dir"], p["split"]),
    ),
}


class Source(Stream):
    """A stream over a data set in the published order; arrays come in the order of the layer's tops."""

    def __init__(
        self, dataset: Dataset, tops: Sequence[str], params: Params, *, rank: int, world: int, seed: int | None
    ) -> None:
        self.dataset, self.tops = dataset, tuple(tops)
        names = self.tops  # the threads must not hold the source itself

        def load(i: int) -> list[np.ndarray]:
            arrays = dataset.load(i)
            return [arrays[top] for top in names]

        super().__init__(published_order(len(dataset), params, rank=rank, world=world, seed=seed), load)

    @property
    def id(self) -> str | None:
        """The id of the last item handed out."""
        return None if self.last is None else self.dataset.ids[self.last]


def published_order(
    n: int, params: Params, *, rank: int = 0, world: int = 1, seed: int | None = None
) -> RandomDraw | Sequential:
    """Drawn at random if the split's name contains "train" and `randomize` is true, else in turn, wrapping.

    The seed is that of `params`, else `seed`, else the clock's.
    """
    if "train" in params["split"] and params["randomize"]:
        own = params["seed"]
        return RandomDraw(n, seed if own is None else own, rank=rank, world=world)
    return Sequential(n, rank=rank, world=world)


def is_published(module: str, layer: str) -> bool:
    return (module, layer) in PUBLISHED


def open_published(
    module: str,
    layer: str,
    param_str: str,
    tops: Sequence[str],
    *,
    root: Path | None = None,
    folder: Path | None = None,
    rank: int = 0,
    world: int = 1,
    seed: int | None = None,
) -> Source:
    """The source a published layer names; its lists and files are seen to exist.

    Relative folders start at `root`, or NETSPEC_DATA of the environment; without either they are looked for from
    `folder`, the net's, and then from the current one. `seed` serves where param_str has none.
    """
    published, params, names = read_layer(module, layer, param_str, tops)
    if root is None and os.environ.get("NETSPEC_DATA"):
        root = Path(os.environ["NETSPEC_DATA"])
    at = {
        key: locate(params[key], published.name, fetch, root=root, folder=folder)
        for key, fetch in published.folders.items()
    }
    return Source(published.open(at, params), names, params, rank=rank, world=world, seed=seed)


def read_layer(
    module: str, layer: str, param_str: str, tops: Sequence[str]
) -> tuple[Published, Params, tuple[str, ...]]:
    """The published layer, its checked keys, and the data set's name for each of the net's tops; reads no files."""
    if (module, layer) not in PUBLISHED:
        known = [".".join(key) for key in PUBLISHED]
        name = f"{module}.{layer}"
        raise SpecError(f"no published data layer '{name}'{suggestion(name, known)}; known: {', '.join(known)}")
    published = PUBLISHED[module, layer]
    params = read_params(param_str, published)
    names = tuple(published.tops(params))
    if len(names) != len(tops):
        raise LayerError(f"{layer} gives {len(names)} tops ({', '.join(names)}), the net has {len(tops)}", field="top")
    return published, params, names


def read_params(param_str: str, published: Published) -> Params:
    """The keys of a param_str with defaults filled in; a dict literal, read as data and never run."""
    given = _literal(param_str)
    for key in given:
        if key not in published.known:
            near = suggestion(str(key), published.known)
            raise _wrong(f"unknown key {key!r}{near}; known: {', '.join(published.known)}")
    params = {key: DEFAULTS[key] for key in published.known if key in DEFAULTS} | given
    for key in published.known:
        if key not in params:
            raise _wrong(f"key '{key}' is missing")
        params[key] = CHECKS.get(key, _text)(key, params[key])
    return params


def _literal(param_str: str) -> Params:
    if len(param_str) > LONGEST_PARAM_STR:
        raise _wrong(f"{len(param_str)} characters, at most {LONGEST_PARAM_STR} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in Windows paths
            value = ast.literal_eval(param_str.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _wrong(f"no Python literal: {param_str[:60]!r}; a dict such as {{'split': 'val'}} is wanted") from None
    if not isinstance(value, dict):
        raise _wrong(f"a {type(value).__name__}, a dict such as {{'split': 'val'}} is wanted")
    return value


def _wrong(message: str) -> LayerError:
    return LayerError(f"param_str: {message}", field="python_param.param_str")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(f"{key} is {value!r}, a string is wanted")
    return value


def _flag(key: str, value: Any) -> bool:
    if value not in (True, False):
        raise _wrong(f"{key} is {value!r}, True or False is wanted")
    return bool(value)


def _seed(key: str, value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise _wrong(f"{key} is {value!r}, an integer or None is wanted")
    return value


def _classes(key: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 255:
        raise _wrong(f"{key} is {value!r}, an integer in 1..255 is wanted")
    return value


def _mean(key: str, value: Any) -> tuple[float, float, float]:
    numbers = value if isinstance(value, (tuple, list)) else ()
    if len(numbers) != 3 or not all(type(v) in (int, float) and math.isfinite(v) for v in numbers):
        raise _wrong(f"{key} is {value!r}, three numbers (B, G, R) are wanted")
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]))


def _tops(key: str, value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, (tuple, list)) else ()
    for name in names:
        if name not in nyud.TOPS:
            raise _wrong(f"{key} has {name!r}{suggestion(str(name), nyud.TOPS)}; known: {', '.join(nyud.TOPS)}")
    if not names:
        raise _wrong(f"{key} is {value!r}, a list of {', '.join(nyud.TOPS)} is wanted")
    return names


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "randomize": _flag,
    "seed": _seed,
    "mean": _mean,
    "classes": _classes,
    "tops": _tops,
}
