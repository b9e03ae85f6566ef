"""Tests as Caffe runs them: the mean loss and the mean of every value of every output blob over some batches.

An output of DetectionEvaluate gives one value: the mean average precision over all batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from netspec.errors import SpecError
from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.solver import detections
from netspec.solver.debug import Debug
from netspec.solver.log import say
from netspec.solver.parallel import Ranks
from netspec.solver.precision import Precision
from netspec.solver.scoring import Scorer

Output = tuple[str, list[float], float]
"""An output blob's name, its values, and its weight in the loss."""


class Stopped(Exception):
    """A signal to stop came during a test."""


@dataclass
class Means:
    """Sums over batches, divided at the end."""

    net: Net
    ap_version: str = detections.DEFAULT
    loss: float = 0.0
    sums: dict[Blob, Tensor] = field(default_factory=dict)
    rows: dict[Blob, list[np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {blob: [] for blob in detections.evaluated(self.net)}

    def add(self, loss: float, values: Mapping[Blob, Tensor], counts: bool) -> None:
        """One batch; one that does not count only gives the sums their sizes."""
        self.loss += loss if counts else 0.0
        for blob, rows in self.rows.items():
            rows += [values[blob].double().cpu().numpy()] if counts else []
        for blob in self.net.graph.outputs:
            if blob in self.rows:
                continue
            value = values[blob].float().flatten().double()
            value = value if counts else torch.zeros_like(value)
            before = self.sums.get(blob)
            if before is not None and before.shape != value.shape:
                message = f"output '{blob.name}' has {value.numel()} values, and {before.numel()} in another batch"
                raise SpecError(f"{message}: such an output has no mean; end it in a Silence layer")
            self.sums[blob] = value if before is None else before + value

    def divide(self, batches: int, ranks: Ranks) -> tuple[float, list[Output]]:
        """The mean loss and outputs over all ranks' batches."""
        ranks.add(list(self.sums.values()))
        means = {blob: (value / batches).tolist() for blob, value in self.sums.items()}
        means |= {blob: [detections.mean(found)] for blob, found in self.precisions(ranks).items()}
        outputs = [(blob.name, means[blob], weight(self.net, blob)) for blob in self.net.graph.outputs]
        return ranks.sums([self.loss])[0] / batches, outputs

    def precisions(self, ranks: Ranks) -> dict[Blob, dict[int, float]]:
        """Each class's average precision, for the outputs that hold detections."""
        every = {blob: [one for part in ranks.gather(rows) for one in part] for blob, rows in self.rows.items()}
        return {blob: detections.precisions(rows, self.ap_version) for blob, rows in every.items()}


def weight(net: Net, blob: Blob) -> float:
    """What a blob counts in the loss."""
    return net.losses[blob].value if blob in net.losses else 0.0


@torch.no_grad()
def run(
    net: Net,
    batches: int,
    ranks: Ranks,
    precision: Precision,
    feed: Callable[[], Mapping[str, Tensor]] | None = None,
    scorer: Scorer | None = None,
    debug: Debug | None = None,
    stop: Callable[[], bool] = lambda: False,
    each: Callable[[int, list[Output]], None] | None = None,
    ap_version: str = detections.DEFAULT,
    per_class: bool = False,
) -> tuple[float, list[Output]]:
    """Mean loss and outputs over `batches` batches, which the ranks share.

    `scorer` counts each batch, `each` gets its number and outputs. Raises Stopped when `stop` says so. `ap_version` is
    how average precision is measured, `per_class` logs each class's.
    """
    if scorer:
        scorer.start()
    means = Means(net, ap_version)
    wanted = debug.blobs if debug else scorer.blobs if scorer else ()
    for number in ranks.share(batches):
        inputs = {name: value.to(net.device) for name, value in feed().items()} if feed else {}
        with precision():
            loss, values = net.loss(inputs, wanted)
        if stop():
            raise Stopped
        if debug:
            debug.forward(values)
        means.add(float(loss.value), values, number is not None)
        if number is not None and scorer:
            scorer.see(values)
        if number is not None and each:
            each(number, [one for one in outputs(net, values) if one[0] not in {blob.name for blob in means.rows}])
    if per_class:
        for found in means.precisions(ranks).values():
            for label, value in found.items():
                say("solver.cpp:547", f"class{label}: {value:g}")
    return means.divide(batches, ranks)


def outputs(net: Net, values: Mapping[Blob, Tensor]) -> list[Output]:
    """The output blobs of one pass."""
    return [
        (blob.name, values[blob].detach().float().flatten().tolist(), weight(net, blob)) for blob in net.graph.outputs
    ]
