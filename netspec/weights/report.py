"""What of a weight file fits what a net declares: loaded, missing, unexpected, of another shape.

1. Blobs go by layer name. A layer that the file lacks keeps its values (missing); one that the net lacks is left out
   (unexpected; layers without blobs, such as Split, do not count).
2. Number and shapes of a layer's blobs must agree. Four axes match fewer ones where the rest are leading ones, as
   old files wrote every blob with four.
3. Nothing is loaded in part: `raise_on_wrong_shape` names all misfits at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from netspec.errors import SpecError
from netspec.weights.model import Model, Shape, StoredLayer


@dataclass(frozen=True)
class Misfit:
    """A blob that has another shape in the file than in the net; one side is None where it has no such blob."""

    layer: str
    index: int
    file: Shape | None
    net: Shape | None
    cause: str = ""

    def __str__(self) -> str:
        sides = f"{_shown(self.file)} in the file, {_shown(self.net)} in the net"
        return f"layer '{self.layer}' blob {self.index}: {sides}" + (f" ({self.cause})" if self.cause else "")


@dataclass
class LoadReport:
    """`loaded` has the values in the net's shapes, by layer; None for a blob that another layer shares and holds."""

    loaded: dict[str, list[np.ndarray | None]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: list[Misfit] = field(default_factory=list)

    def raise_on_wrong_shape(self) -> None:
        """One SpecError that lists every misfit."""
        if self.wrong_shape:
            head = f"{len(self.wrong_shape)} blob{'s' * (len(self.wrong_shape) > 1)} of another shape: "
            raise SpecError(head + "; ".join(map(str, self.wrong_shape)))

    def summary(self) -> list[str]:
        """A line per kind that has any: how many layers, and which."""
        kinds = (
            ("loaded", list(self.loaded)),
            ("missing (in the net, not in the file)", self.missing),
            ("unexpected (in the file, not in the net)", self.unexpected),
        )
        lines = [f"{kind}: {len(names)}: {', '.join(names)}" for kind, names in kinds if names]
        return lines + [f"wrong shape: {misfit}" for misfit in self.wrong_shape]


def match(
    model: Model,
    wanted: Mapping[str, Sequence[Shape]],
    shared: Collection[tuple[str, int]] = (),
    names: Mapping[str, Sequence[str]] | None = None,
) -> LoadReport:
    """Compares a file with the shapes a net wants per layer: every layer of the net, `[]` where it has no blobs.

    `shared` are the `(layer, index)` of the net whose values another layer owns: the file may lack them. `names`
    are the net's names of each layer's blobs: where a file has just these, they decide over its order.
    """
    report = LoadReport()
    stored = {layer.name: _in_order(layer, (names or {}).get(layer.name, ())) for layer in model.layers}
    for name, shapes in wanted.items():
        if name not in stored and shapes:
            report.missing.append(name)
        elif name in stored:
            _layer(report, name, stored[name], [tuple(s) for s in shapes], shared)
    report.unexpected = [name for name, blobs in stored.items() if blobs and name not in wanted]
    return report


def _in_order(layer: StoredLayer, names: Sequence[str]) -> list[np.ndarray | None]:
    if set(names) != set(layer.names) or len(layer.names) != len(layer.blobs):
        return layer.blobs
    by_name = dict(zip(layer.names, layer.blobs, strict=True))
    return [by_name[name] for name in names]


def _layer(
    report: LoadReport,
    name: str,
    blobs: list[np.ndarray | None],
    shapes: list[Shape],
    shared: Collection[tuple[str, int]],
) -> None:
    misfits, values = [], []
    for i in range(max(len(blobs), len(shapes))):
        blob = blobs[i] if i < len(blobs) else None
        net = shapes[i] if i < len(shapes) else None
        if blob is not None and net is not None and fits(blob.shape, net):
            values.append(blob.reshape(net))
        elif blob is None and net is not None and (i < len(blobs) or (name, i) in shared):
            values.append(None)
        else:
            file = None if blob is None else blob.shape
            misfits.append(Misfit(name, i, file, net, cause(file, net)))
    report.wrong_shape += misfits
    if shapes and not misfits:
        report.loaded[name] = values


def fits(file: Shape, net: Shape) -> bool:
    """Equal, or the file's four axes are the net's after leading ones."""
    return file == net or (len(file) == 4 and len(net) < 4 and file == (1,) * (4 - len(net)) + net)


def cause(file: Shape | None, net: Shape | None) -> str:
    """The likely reason why two shapes of a blob differ, or nothing."""
    if file is None or net is None:
        where = "file" if file is None else "net"
        return f"the {where} has no such blob: another bias_term or layer type?"
    file = file[2:] if len(file) == 4 and file[:2] == (1, 1) and len(net) == 4 and net[:2] != (1, 1) else file
    if len(file) == 2 and len(net) == 4:
        if prod(file) == prod(net):
            return f"fully connected there, {_kernel(net)} convolution here: use `netspec transplant`"
        return "fully connected there, convolution here"
    if len(file) == 4 and len(net) == 2 and prod(file) == prod(net):
        return f"{_kernel(file)} convolution there, fully connected here: use `netspec transplant`"
    if len(file) != len(net):
        return ""
    differing = [i for i, (a, b) in enumerate(zip(file, net, strict=True)) if a != b]
    if len(file) == 2 and file == net[::-1]:
        return "transposed there"
    if differing == [0]:
        return f"{file[0]} outputs there, {net[0]} here: rename the layer to learn it anew"
    if differing == [1]:
        return f"{file[1]} inputs there, {net[1]} here: another input or group"
    if len(file) == 4 and file[:2] == net[:2]:
        return f"kernel {_kernel(file)} there, {_kernel(net)} here"
    return ""


def _kernel(shape: Shape) -> str:
    return "x".join(map(str, shape[2:]))


def _shown(shape: Shape | None) -> str:
    if shape is None:
        return "none"
    return " x ".join(map(str, shape)) or "one value"
