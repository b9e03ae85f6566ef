"""ONNX operators gathered one by one, with the constants they read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Node:
    """One operator."""

    op: str
    inputs: list[str]
    outputs: list[str]
    name: str
    attributes: dict[str, Any]


@dataclass
class Body:
    """A graph inside an operator; it may read values of the graph around it."""

    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]


@dataclass
class Nodes:
    """The operators of a net in order. `layer` is the layer they are added for; values are named by it."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    layer: str = ""
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def inner(self) -> Nodes:
        """For the operators of a graph inside this one: names and constants are this one's."""
        return Nodes([], self.constants, self.layer, self._known, self._names)

    def name(self, wanted: str) -> str:
        """A name nobody else has."""
        free, count = wanted, 1
        while free in self._names:
            free, count = f"{wanted}_{count}", count + 1
        self._names.add(free)
        return free

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Adds an operator; the name of its first result."""
        return self.several(op, *inputs, outputs=outputs, **attributes)[0]

    def several(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Adds an operator; the names of its results."""
        name = self.name(f"{self.layer}/{op}")
        made = [name if not i else self.name(f"{name}:{i}") for i in range(outputs)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(Node(op, list(inputs), made, name, given))
        return made

    def values(self, array: Any, name: str = "value") -> str:
        """A constant of float32 values."""
        return self.constant(np.asarray(array, np.float32), name)

    def ints(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(np.array(values, np.int64), "ints")

    def whole(self, value: int) -> str:
        """A constant whole number."""
        return self.constant(np.array(value, np.int64), "int")

    def constant(self, array: np.ndarray, name: str) -> str:
        """A constant; equal small ones are kept once."""
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 16 else ()
        if key and key in self._known:
            return self._known[key]
        made = self.name(f"{self.layer}.{name}")
        self.constants[made] = array
        if key:
            self._known[key] = made
        return made

    def reads(self) -> set[str]:
        """The names of all values that are read, by operators inside of others too."""
        bodies = [a.nodes for node in self.nodes for a in node.attributes.values() if isinstance(a, Body)]
        return {name for nodes in (self.nodes, *bodies) for node in nodes for name in node.inputs}

    def shape(self, x: str, start: int, end: int | None = None) -> str:
        """Sizes of the axes from `start` to before `end`."""
        return self.add("Shape", x, start=start, end=end)

    def join(self, *parts: str) -> str:
        """Lists of whole numbers, one after the other."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)
