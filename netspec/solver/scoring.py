"""Segmentation scores of a net over its data: the best class of each pixel against the label.

What is scored is found in the graph: the two bottoms of every SoftmaxWithLoss over an image, named by that layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netspec.data.classes import VOID
from netspec.errors import SpecError
from netspec.ir.graph import Blob
from netspec.net import Net
from netspec.segmentation.metrics import Confusion
from netspec.solver.parallel import Ranks


@dataclass(frozen=True)
class Pair:
    """A score blob, N x classes x H x W, and its label, N x 1 x H x W, as a loss layer reads them."""

    name: str
    score: Blob
    label: Blob
    classes: int
    ignore: int


class Scorer:
    """Counts predictions against labels over batches: `start`, `see` each batch's values, `scores`."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        self.blobs = tuple(dict.fromkeys(b for p in pairs for b in (p.score, p.label)))
        self.start()

    @classmethod
    def of(cls, net: Net) -> Scorer | None:
        """The scorer of a net, None where it does not segment."""
        pairs = find_pairs(net)
        return cls(pairs) if pairs else None

    def start(self) -> None:
        """Forgets all counts."""
        self.counts = {p.name: Confusion(p.classes, p.ignore) for p in self.pairs}

    def see(self, values: Mapping[Blob, Tensor]) -> None:
        """Counts one batch."""
        for pair in self.pairs:
            best = values[pair.score].argmax(1)
            label = values[pair.label].reshape(best.shape)
            self.counts[pair.name].update(label.cpu().numpy(), best.cpu().numpy())

    def scores(self, ranks: Ranks | None = None) -> dict[str, dict[str, Any]]:
        """pixel_acc, mean_acc, mean_iu, fw_iu and iu by layer, over all ranks."""
        out = {}
        for name, mine in self.counts.items():
            total = Confusion(mine.classes, mine.ignore)
            for counts in ranks.gather(mine.counts) if ranks else [mine.counts]:
                total.counts += counts
            out[name] = total.scores()
        return out


def find_pairs(net: Net) -> list[Pair]:
    """The score and label blobs of a net's segmentation losses, in the order of layers."""
    pairs = []
    for spec, _ in net.bound:
        if spec.type != "SoftmaxWithLoss":
            continue
        shape = net.blob_shapes[spec.bottoms[0]]
        if len(shape) == 4 and shape[2] * shape[3] > 1 and spec.proto.softmax_param.axis in (1, -3):
            given = spec.proto.loss_param
            ignore = given.ignore_label if given.HasField("ignore_label") else VOID
            pairs.append(Pair(spec.name, spec.bottoms[0], spec.bottoms[1], shape[1], ignore))
    return pairs


@torch.no_grad()
def score(
    net: Net, iterations: int, feed: Callable[[], Mapping[str, Tensor]] | None = None
) -> dict[str, dict[str, Any]]:
    """Runs a net over its next `iterations` batches; its scores by loss layer. `feed` gives Input blobs."""
    scorer = Scorer.of(net)
    if scorer is None:
        raise SpecError("the net has nothing to score: no SoftmaxWithLoss over an image", None)
    for _ in range(iterations):
        scorer.see(net.run(scorer.blobs, feed() if feed else {}))
    return scorer.scores()
