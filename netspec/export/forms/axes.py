"""Forms of layers that arrange values anew along the axes."""

from __future__ import annotations

from netspec import schema
from netspec.export.forms import Code, Form, NotExported, Site, form, number
from netspec.export.nodes import Nodes


@form("Concat")
class Concat(Form):
    def code(self, site: Site) -> Code:
        if len(site.bottoms) == 1:
            return Code(("{0}",))
        names = ", ".join(f"{{{i}}}" for i in range(len(site.bottoms)))
        return Code((f"torch.cat([{names}], {site.layer.axis})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Concat", *x, axis=site.layer.axis)]


@form("Slice")
class Slice(Form):
    def sizes(self, site: Site) -> list[int]:
        axis = site.layer.axis % site.rank
        if not site.fixed(0, slice(axis, axis + 1)):
            raise NotExported(f"axis {site.layer.axis} changes with the input")
        return site.layer.sizes(site.bottoms[0])

    def code(self, site: Site) -> Code:
        sizes = self.sizes(site)
        if len(sizes) == 1:
            return Code(("{0}",))
        each = str(sizes[0]) if len(set(sizes)) == 1 else str(sizes)
        return Code((f"torch.split({{0}}, {each}, {site.layer.axis})",), joint=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        sizes = self.sizes(site)
        return g.several("Split", x[0], g.ints(*sizes), outputs=len(sizes), axis=site.layer.axis)


@form("Flatten", "Reshape")
class View(Form):
    """Caffe's 0 and −1 become the sizes they stand for: fixed ones, one −1, and sizes of the bottom."""

    def dims(self, site: Site) -> list[int | str]:
        """The top's axes: a number, "axis i" of the bottom, or -1 for what is left; at most one."""
        bottom, top, changes = site.bottoms[0], site.tops[0], site.varies[0]
        if site.layer.type == "Flatten":
            start, end = site.p.axis % site.rank, site.p.end_axis % site.rank + 1
            own = [*range(start), -1, *range(end, site.rank)]
        else:
            start, end = site.layer.replaced(bottom)
            asked = [start + i if n == 0 else -1 if n == -1 else None for i, n in enumerate(site.layer.dims)]
            own = [*range(start), *asked, *range(end, site.rank)]
        dims: list[int | str] = []
        for source, size in zip(own, top, strict=True):
            fixed = source is None or (source >= 0 and not changes[source]) or (source == -1 and site.fixed(0))
            dims.append(size if fixed else -1 if source == -1 else f"axis {source}")
        return dims

    def code(self, site: Site) -> Code:
        if site.layer.type == "Flatten":
            start, end = site.p.axis % site.rank, site.p.end_axis % site.rank
            return Code((f"{{0}}.flatten({start})" if end == site.rank - 1 else f"{{0}}.flatten({start}, {end})",))
        sizes = [f"{{0}}.shape[{d.split()[1]}]" if isinstance(d, str) else str(d) for d in self.dims(site)]
        return Code((f"{{0}}.reshape({', '.join(sizes)})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        dims = self.dims(site)
        if all(d == f"axis {i}" or isinstance(d, int) for i, d in enumerate(dims)):
            return [g.add("Reshape", x[0], g.ints(*(0 if isinstance(d, str) else d for d in dims)))]
        parts = [g.ints(d) if isinstance(d, int) else self.size(g, x[0], int(d.split()[1])) for d in dims]
        return [g.add("Reshape", x[0], g.join(*parts))]

    def size(self, g: Nodes, x: str, axis: int) -> str:
        return g.shape(x, axis, axis + 1)


@form("Permute")
class Permute(Form):
    def code(self, site: Site) -> Code:
        return Code((f"{{0}}.permute({', '.join(map(str, site.layer.order(site.rank)))})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Transpose", x[0], perm=site.layer.order(site.rank))]


@form("ShuffleChannel")
class ShuffleChannel(Form):
    def code(self, site: Site) -> Code:
        group = site.p.group
        if site.rank == 4:
            return Code((f"F.channel_shuffle({{0}}, {group})",), wraps=True)
        return Code((f"{{0}}.unflatten(1, ({group}, -1)).transpose(1, 2).flatten(1, 2)",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        channels, group, rest = site.bottoms[0][1], site.p.group, site.rank - 2
        lead, tail = g.shape(x[0], 0, 1), [g.shape(x[0], 2, site.rank)] if rest else []
        rows = g.add("Reshape", x[0], g.join(lead, g.ints(group, channels // group), *tail))
        turned = g.add("Transpose", rows, perm=[0, 2, 1, *range(3, 3 + rest)])
        return [g.add("Reshape", turned, g.join(lead, g.ints(channels), *tail))]


@form("Reorg")
class Reorg(Form):
    def code(self, site: Site) -> Code:
        name = "unfold_space" if site.p.reverse else "fold_space"
        return Code((f"{name}({{0}}, {site.p.stride})",), helpers=(name,))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        s, channels = site.p.stride, site.bottoms[0][1]
        n, size = g.shape(x[0], 0, 1), g.shape(x[0], 2, 4)
        if site.p.reverse:
            rows = g.add("Reshape", x[0], g.join(n, g.ints(s, s, channels // s**2), size))
            turned = g.add("Transpose", rows, perm=[0, 3, 4, 1, 5, 2])
            return [g.add("Reshape", turned, g.join(n, g.ints(channels // s**2), g.add("Mul", size, g.ints(s))))]
        height, width = (g.add("Slice", size, g.ints(i), g.ints(i + 1), g.ints(0)) for i in (0, 1))
        rows = g.add("Reshape", x[0], g.join(n, g.ints(channels // s**2), height, g.ints(s), width, g.ints(s)))
        turned = g.add("Transpose", rows, perm=[0, 3, 5, 1, 2, 4])
        return [g.add("Reshape", turned, g.join(n, g.ints(channels * s * s), g.add("Div", size, g.ints(s))))]


@form("Tile")
class Tile(Form):
    def repeats(self, site: Site) -> list[int]:
        axis = site.p.axis % site.rank
        return [site.p.tiles if i == axis else 1 for i in range(site.rank)]

    def code(self, site: Site) -> Code:
        return Code((f"{{0}}.repeat({', '.join(map(str, self.repeats(site)))})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Tile", x[0], g.ints(*self.repeats(site)))]


@form("Reduction")
class Reduction(Form):
    def code(self, site: Site) -> Code:
        operation, axis = schema.enum_name(site.p, "operation"), site.p.axis % site.rank
        axes = str(axis if axis == site.rank - 1 else tuple(range(axis, site.rank)))
        inner = {"ASUM": "{0}.abs().sum", "SUMSQ": "{0}.square().sum", "MEAN": "{0}.mean", "SUM": "{0}.sum"}[operation]
        text = f"{inner}({axes})"
        return Code((text if site.p.coeff == 1 else f"{number(site.p.coeff)} * {text}",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        operation, axis = schema.enum_name(site.p, "operation"), site.p.axis % site.rank
        axes = list(range(axis, site.rank))
        y = g.add("Abs", x[0]) if operation == "ASUM" else x[0]
        if operation in ("SUM", "ASUM"):
            y = g.add("ReduceSum", y, g.ints(*axes), keepdims=0)
        else:
            y = g.add("ReduceMean" if operation == "MEAN" else "ReduceSumSquare", y, axes=axes, keepdims=0)
        return [y if site.p.coeff == 1 else g.add("Mul", y, g.values(site.p.coeff))]


@form("Softmax")
class Softmax(Form):
    def code(self, site: Site) -> Code:
        return Code((f"torch.softmax({{0}}, {site.p.axis})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Softmax", x[0], axis=site.p.axis)]


@form("ArgMax")
class ArgMax(Form):
    """Of equal values the later wins in Caffe. PyTorch and ONNX keep to that for one place, not for several."""

    def code(self, site: Site) -> Code:
        if not site.p.HasField("axis"):
            return self.rows(site)
        axis, k = site.p.axis, site.p.top_k
        if k == 1 and site.p.out_max_val:
            return Code((f"{{0}}.amax({axis}, keepdim=True)",))
        if k == 1:
            return Code((f"last_argmax({{0}}, {axis})",), helpers=("last_argmax",))
        return Code((f"{{0}}.topk({k}, {axis}).{'values' if site.p.out_max_val else 'indices'}.float()",))

    def rows(self, site: Site) -> Code:
        k, ones = site.p.top_k, ", 1" * (site.rank - 3)
        if site.p.out_max_val:
            text = f"best({{0}}, {k})"
            return Code((f"{text}.reshape(-1, 2, {k}{ones})" if ones else text,), helpers=("best",))
        if k == 1:
            return Code((f"last_argmax({{0}}.flatten(1), 1).reshape(-1, 1, 1{ones})",), helpers=("last_argmax",))
        return Code((f"{{0}}.flatten(1).topk({k}).indices.float().reshape(-1, 1, {k}{ones})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        k = site.p.top_k
        if site.p.HasField("axis"):
            if k > 1:
                return [self.top(g, x[0], site.p.axis, k)[not site.p.out_max_val]]
            if site.p.out_max_val:
                return [g.add("ReduceMax", x[0], axes=[site.p.axis], keepdims=1)]
            return [g.add("Cast", g.add("ArgMax", x[0], axis=site.p.axis, keepdims=1, select_last_index=1), to=1)]
        flat = g.add("Flatten", x[0], axis=1)
        ones = [1] * (site.rank - 3)
        if site.p.out_max_val:
            values, places = self.top(g, flat, 1, k)
            rows = [g.add("Unsqueeze", v, g.ints(1)) for v in (places, values)]
            return [g.add("Reshape", g.add("Concat", *rows, axis=1), g.ints(0, 2, k, *ones))]
        if k == 1:
            places = g.add("Cast", g.add("ArgMax", flat, axis=1, keepdims=1, select_last_index=1), to=1)
        else:
            places = self.top(g, flat, 1, k)[1]
        return [g.add("Reshape", places, g.ints(0, 1, k, *ones))]

    def top(self, g: Nodes, x: str, axis: int, k: int) -> list[str]:
        values, places = g.several("TopK", x, g.ints(k), outputs=2, axis=axis)
        return [values, g.add("Cast", places, to=1)]
