"""verify: the net and what was made of it run on the same inputs, of several sizes; how far their outputs lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from netspec.errors import SpecError
from netspec.export.picture import Picture
from netspec.export.plan import Plan, Shapes
from netspec.ir.graph import Blob
from netspec.layers import Shape
from netspec.net import Net

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the output's largest value: rounding in another order stays far below."""
LABELS = 1e-3
"""Share of places where an ArgMax may differ: of scores equal up to rounding either may win."""
ROWS = 0.02
"""Share of DetectionOutput's rows that may be missing: which of two boxes stays may hang on rounding."""
TRIALS = 3

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """One output in one trial: the shape of the input, the largest difference, the largest value.

    `flat`: all values are the same, as those of layers without trained weights are, so that agreeing proves little.
    """

    output: str
    inputs: Shapes
    difference: float
    largest: float
    agrees: bool
    flat: bool

    def __str__(self) -> str:
        sizes = ", ".join("x".join(map(str, shape)) for shape in self.inputs.values())
        note = " (all values are the same, which proves little)" if self.flat else ""
        values = f"largest difference {self.difference:.2g}, largest value {self.largest:.3g}{note}"
        return f"{self.output} ({sizes}): {values}"


@dataclass(frozen=True)
class Trial:
    """Inputs of some shape and the net's own outputs."""

    inputs: Arrays
    outputs: Arrays


def make_trials(
    net: Net, plan: Plan, picture: Picture | None = None, seed: int = 0, count: int = TRIALS
) -> list[Trial]:
    """Random inputs in `count` of the plan's shapes, with what the net makes of them.

    A net may refuse a size only when it runs (a mask from a pooling of another size): another one is taken then.
    """
    rng, trials = np.random.default_rng(seed), []
    for shapes in plan.trials:
        inputs = {name: random_input(rng, plan, name, shape, picture) for name, shape in shapes.items()}
        try:
            trials.append(Trial(inputs, run_net(net, plan, inputs, picture)))
        except SpecError:
            if shapes is plan.trials[-1] and not trials:
                raise
        if len(trials) == count:
            break
    return trials


def random_input(rng: np.random.Generator, plan: Plan, name: str, shape: Shape, picture: Picture | None) -> np.ndarray:
    """What the layer that reads the input asks for; a picture; pixels less a mean, for three channels; else values of
    variance 1.
    """
    for stop in plan.stops:
        for i, bottom in enumerate(stop.bottoms):
            values = stop.form.sample(stop.site, i, rng, shape) if bottom == Blob(name) else None
            if values is not None:
                return values
    if picture:
        return rng.integers(0, 256, (shape[0], *shape[2:], 3), np.uint8)
    if len(shape) == 4 and shape[1] == 3:
        return rng.uniform(-120, 135, shape).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)


def run_net(net: Net, plan: Plan, inputs: Arrays, picture: Picture | None) -> Arrays:
    """The net's own outputs."""
    tensors = {k: torch.from_numpy(picture.data(v) if picture else v) for k, v in inputs.items()}
    for stop in plan.stops:
        stop.form.reset(stop.site)
    with torch.no_grad():
        values = net.run(plan.outputs, tensors)
    return {name: values[b].numpy() for name, b in plan.results.items()}


def compare(plan: Plan, trials: Sequence[Trial], got: Sequence[Arrays]) -> list[Difference]:
    """Every output of every trial; a result of one output need not name it."""
    makers = {top: stop.site.layer.type for stop in plan.stops for top in stop.tops}
    types = {name: makers.get(b, "") for name, b in plan.results.items()}
    rows = []
    for trial, values in zip(trials, got, strict=True):
        only = next(iter(values.values()))
        shapes = {k: v.shape for k, v in trial.inputs.items()}
        for name, want in trial.outputs.items():
            rows.append(one(name, shapes, want, values.get(name, only), types[name]))
    return rows


def one(name: str, shapes: Shapes, want: np.ndarray, got: np.ndarray, type: str) -> Difference:
    """One output of one trial, which a layer of a type made."""
    missing = 0.0
    if type == "DetectionOutput" and want.shape[-1] == got.shape[-1]:
        want, got, missing = paired(want.reshape(-1, want.shape[-1]), got.reshape(-1, got.shape[-1]))
    if want.shape != got.shape:
        raise SpecError(f"output '{name}' has the shape {list(got.shape)}, in the net {list(want.shape)}")
    apart = np.abs(want.astype(np.float64) - got)
    largest = float(np.abs(want).max(initial=0.0))
    worst = float(apart.max(initial=0.0)) if np.isfinite(apart).all() else float("nan")
    if type == "ArgMax":
        agrees = float((apart > 0.5).mean()) <= LABELS
    else:
        agrees = worst <= TOLERANCE * largest and missing <= ROWS
    return Difference(name, shapes, worst, largest, agrees, flat=want.size > 1 and bool((want == want.flat[0]).all()))


def paired(want: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows (image, label, values) of both that belong together, and the share of all that have no partner."""
    pairs, free = [], list(range(len(got)))
    for i, row in enumerate(want):
        near = [j for j in free if (got[j, :2] == row[:2]).all()]
        best = min(near, key=lambda j: float(np.abs(got[j] - row).max()), default=None)
        if best is not None and np.abs(got[best] - row).max() <= TOLERANCE * max(1.0, float(np.abs(row).max())):
            pairs.append((i, best))
            free.remove(best)
    most = max(len(want), len(got), 1)
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return want[found[:, 0]], got[found[:, 1]], 1 - len(pairs) / most


def raise_on_difference(rows: Sequence[Difference]) -> None:
    """One error that names every output that differs."""
    wrong = [str(r) for r in rows if not r.agrees]
    if wrong:
        raise SpecError(f"the result does not compute what the net does: {'; '.join(wrong)}")
