"""An ordinary picture as the net's input: N x H x W x 3, red, green, blue, uint8; what Caffe's nets want is computed.

data[n, c, y, x] = scale · (picture[n, y, x, 2 − c] − mean[c]), with mean and data in blue, green, red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import SpecError
from netspec.export.nodes import Nodes
from netspec.export.plan import Plan
from netspec.ir.graph import Graph
from netspec.passes.data_to_input import brings_data
from netspec.segmentation.infer import ILSVRC_MEAN


def declared(graph: Graph | None) -> tuple[np.ndarray, float]:
    """Mean (B, G, R) and scale of the first data layer that has them, else those of ImageNet and 1."""
    for spec in graph.layers if graph else ():
        p = spec.proto.transform_param
        if brings_data(spec) and (p.mean_value or p.HasField("scale")):
            values = list(p.mean_value) or [0.0]
            return np.array(values * 3 if len(values) == 1 else values, np.float32), p.scale
    return np.array(ILSVRC_MEAN, np.float32), 1.0


@dataclass(frozen=True)
class Picture:
    """What is folded in: `mean` has three values (B, G, R) or the net's C x H x W; pixels are 0..255 before `scale`."""

    mean: np.ndarray
    scale: float = 1.0

    @property
    def values(self) -> np.ndarray:
        """The mean as 3 x 1 x 1 or 3 x H x W."""
        return self.mean.astype(np.float32).reshape(3, 1, 1) if self.mean.size == 3 else self.mean.astype(np.float32)

    def check(self, plan: Plan) -> None:
        """Refuses nets whose inputs are not pictures of three channels, and a mean image of another size."""
        for blob in plan.inputs:
            shape = plan.shapes[blob]
            if len(shape) != 4 or shape[1] != 3:
                raise SpecError(f"input '{blob}' {list(shape)} is no picture of three channels: leave out --preprocess")
            if self.mean.size != 3 and (self.mean.shape != shape[1:] or any(plan.varies[blob][1:])):
                raise SpecError(
                    f"a mean image of {list(self.mean.shape)} fits inputs of that size only: give its means per "
                    "channel, --mean B,G,R, or --fixed-size"
                )

    def shape(self, axes: Sequence[str]) -> tuple[str | int, ...]:
        """N x H x W x 3 with the names of the axes that change."""
        return (axes[0] or 1, axes[2] or "height", axes[3] or "width", 3)

    def nodes(self, g: Nodes, picture: str) -> str:
        """The net's input from the picture, in ONNX."""
        planes = g.add("Transpose", g.add("Cast", picture, to=1), perm=[0, 3, 1, 2])
        centred = g.add("Sub", g.add("Gather", planes, g.ints(2, 1, 0), axis=1), g.values(self.values, "mean"))
        return centred if self.scale == 1 else g.add("Mul", centred, g.values(self.scale))

    def data(self, picture: np.ndarray) -> np.ndarray:
        """The same in numpy."""
        planes = picture.astype(np.float32).transpose(0, 3, 1, 2)[:, ::-1]
        return np.ascontiguousarray((planes - self.values) * np.float32(self.scale))
