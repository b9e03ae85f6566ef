"""A weight file held against a net: the load report, and the model as the net would store it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.ir.emit import emit
from netspec.ir.graph import Graph
from netspec.layers.base import Shape
from netspec.passes.bind import bind
from netspec.passes.data_to_input import data_to_input
from netspec.passes.infer_shapes import infer_shapes
from netspec.passes.parameters import parameters
from netspec.weights import mapped
from netspec.weights.model import Model, StoredLayer
from netspec.weights.report import LoadReport, match


def fit(model: Model, graph: Graph, given: Mapping[str, Shape] | None = None) -> tuple[LoadReport, Model]:
    """What of the file loads into the net, and just that, in the net's order, with its types, wiring and blob names."""
    bound = bind(data_to_input(graph, given).graph)
    table = parameters(bound, infer_shapes(bound, given))
    specs = bound.graph.layers
    wanted: dict[str, list[Shape]] = {spec.name: [] for spec in specs}
    names: dict[str, list[str]] = {spec.name: [] for spec in specs}
    for entry in table:
        wanted[specs[entry.layer].name].append(entry.blob.shape)
        names[specs[entry.layer].name].append(entry.blob.name)
    shared = {(specs[p.layer].name, p.index) for i, p in enumerate(table) if p.owner != i}
    report = match(model, wanted, shared, names)
    layers = [StoredLayer(s.name, s.type, report.loaded.get(s.name, []), names=names[s.name]) for s in specs]
    for layer in layers:
        layer.diffs = [None] * len(layer.blobs)
    return report, Model(graph.name or model.name, layers, emit(graph))


def check(report: LoadReport, path: str, strict: bool = False, partial: bool = False) -> None:
    """Raises on blobs of another shape unless `partial`, on anything missing or unexpected if `strict`: all at once."""
    problems = [] if partial else [str(m) for m in report.wrong_shape]
    if strict:
        problems += [f"layer '{name}' is not in the file" for name in report.missing]
        problems += [f"layer '{name}' is not in the net" for name in report.unexpected]
    if not report.loaded and not problems:
        problems = ["no layer of the net is in the file"]
    if problems:
        what = "problem" if len(problems) == 1 else "problems"
        raise SpecError(f"{len(problems)} {what} loading: {'; '.join(problems)}", Loc(path))


def differing(a: Model, b: Model) -> list[str]:
    """Layers whose blobs do not have the same bits in both."""
    left, right = a.blobs(), b.blobs()
    return [name for name in {**left, **right} if not same(left.get(name, []), right.get(name, []))]


def same(a: list[np.ndarray | None], b: list[np.ndarray | None]) -> bool:
    pairs = list(zip(a, b, strict=False))
    return len(a) == len(b) and all(
        x is not None and y is not None and x.size == y.size and same_bits(x, y) for x, y in pairs
    )


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Compared as whole numbers, so that NaNs are equal to themselves."""
    pairs = zip(mapped.pieces(a), mapped.pieces(b), strict=True)
    return all(np.array_equal(x.view(np.uint32), y.view(np.uint32)) for x, y in pairs)
