"""Forms of fully connected layers, tables, and blobs that stand alone."""

from __future__ import annotations

import numpy as np

from netspec.export.forms import Arg, Code, Form, Member, Site, form
from netspec.export.nodes import Nodes
from netspec.layers import Shape


@form("InnerProduct")
class InnerProduct(Form):
    def weight(self, site: Site) -> np.ndarray:
        """Outputs x inputs."""
        return site.params[0].T if site.p.transpose else site.params[0]

    def code(self, site: Site) -> Code:
        weight, axis = self.weight(site), site.p.axis % site.rank
        args = (Arg("in_features", weight.shape[1]), Arg("out_features", weight.shape[0]))
        args += (Arg("bias", len(site.params) > 1, True),)
        state: dict[str, np.ndarray] = dict(zip(("weight", "bias"), (weight, *site.params[1:]), strict=False))
        text = "{m0}({0})" if axis == site.rank - 1 else f"{{m0}}({{0}}.flatten({axis}))"
        return Code((text,), (Member("nn.Linear", args, state),))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        weight, axis = self.weight(site), site.p.axis % site.rank
        bias = [g.values(b, "bias") for b in site.params[1:]]
        if axis == 1:
            flat = x[0] if site.rank == 2 else g.add("Flatten", x[0], axis=1)
            return [g.add("Gemm", flat, g.values(weight, "weight"), *bias, transB=1)]
        flat = x[0]
        if axis < site.rank - 1:
            flat = g.add("Reshape", flat, g.ints(*[0] * axis, weight.shape[1]))
        y = g.add("MatMul", flat, g.values(weight.T, "weight"))
        return [g.add("Add", y, *bias) if bias else y]


@form("Embed")
class Embed(Form):
    def code(self, site: Site) -> Code:
        weight = site.params[0]
        args = (Arg("num_embeddings", weight.shape[0]), Arg("embedding_dim", weight.shape[1]))
        members = [Member("nn.Embedding", args, {"weight": weight})]
        text = "{m0}({0}.long())"
        if len(site.params) > 1:
            members.append(parameter(site.params[1], "bias"))
            text += " + {m1}"
        return Code((text,), tuple(members))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        rows = g.add("Gather", g.values(site.params[0], "weight"), g.add("Cast", x[0], to=7), axis=0)
        return [g.add("Add", rows, g.values(site.params[1], "bias")) if len(site.params) > 1 else rows]


@form("Parameter")
class Parameter(Form):
    def code(self, site: Site) -> Code:
        return Code(("{m0}",), (parameter(site.params[0]),))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Identity", g.values(site.params[0]))]


@form("BatchReindex")
class BatchReindex(Form):
    def code(self, site: Site) -> Code:
        return Code(("{0}[{1}.long()]",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Gather", x[0], g.add("Cast", x[1], to=7), axis=0)]


@form("Filter")
class Filter(Form):
    counted = 0

    def code(self, site: Site) -> Code:
        last = len(site.bottoms) - 1
        return Code(tuple(f"{{{i}}}[{{{last}}}.flatten() != 0]" for i in range(last)))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        kept = g.add("Cast", g.add("Reshape", x[-1], g.ints(-1)), to=9)
        return [g.add("Compress", blob, kept, axis=0) for blob in x[:-1]]

    def sample(self, site: Site, bottom: int, rng: np.random.Generator, shape: Shape) -> np.ndarray | None:
        """Half of the rows and more stay."""
        if bottom < len(site.bottoms) - 1:
            return None
        return (rng.uniform(size=shape) < 0.7).astype(np.float32)


def parameter(value: np.ndarray, name: str = "") -> Member:
    """A parameter of its own in the module."""
    sizes = tuple(Arg(f"size{i}", n) for i, n in enumerate(value.shape)) or (Arg("size", ()),)
    return Member("nn.Parameter(torch.empty", sizes, {"": value}, name)
