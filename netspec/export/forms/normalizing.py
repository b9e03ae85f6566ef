"""Forms of layers that normalise, scale and shift."""

from __future__ import annotations

import numpy as np

from netspec.export.forms import Arg, Code, Form, Member, NotExported, Site, form, number
from netspec.export.forms.dense import parameter
from netspec.export.nodes import Nodes


def statistics(site: Site) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance: the stored sums over what they weigh; a weight of 0 makes both 0."""
    mean, variance, weight = site.params[:3]
    share = np.float32(0) if weight.reshape(-1)[0] == 0 else np.float32(1) / weight.reshape(-1)[0]
    return mean * share, variance * share


@form("BatchNorm")
class BatchNorm(Form):
    """With a factor and a bias of its own, or those of the Scale behind it that alone reads it."""

    def code(self, site: Site) -> Code:
        self.check(site)
        mean, variance = statistics(site)
        state = {"running_mean": mean, "running_var": variance, "num_batches_tracked": np.array(0, np.int64)}
        affine = bool(self.own(site))
        if affine:
            state |= dict(zip(("weight", "bias"), self.factors(site), strict=True))
        args = (
            Arg("num_features", mean.size),
            Arg("eps", float(number(site.p.eps)), 1e-5),
            Arg("affine", affine, True),
        )
        axes = max(1, site.rank - 2)
        return Code(("{m0}({0})",), (Member(f"nn.BatchNorm{axes}d", args, state),), wraps=True)

    def check(self, site: Site) -> None:
        if not site.layer.stored:
            raise NotExported("use_global_stats false: it normalises by the batch at hand")
        if not 2 <= site.rank <= 5:
            raise NotExported(f"a bottom of {site.rank} axes")

    def own(self, site: Site) -> tuple[np.ndarray, ...]:
        """The factor and the bias there are."""
        return site.scale.params if site.scale else site.params[3:]

    def factors(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        """The factor and the bias, 1 and 0 where there are none."""
        channels, params = site.bottoms[0][1], self.own(site)
        factor = params[0] if params else np.ones(channels, np.float32)
        return factor, params[1] if len(params) > 1 else np.zeros(channels, np.float32)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        self.check(site)
        names = ("scale", "bias", "mean", "variance")
        values = zip((*self.factors(site), *statistics(site)), names, strict=True)
        return [g.add("BatchNormalization", x[0], *(g.values(v, n) for v, n in values), epsilon=site.p.eps)]


@form("BN")
class BN(Form):
    def code(self, site: Site) -> Code:
        self.check(site)
        scale, shift, *stored = (p.reshape(-1) for p in site.params)
        if site.layer.plain:
            ones = (-1, *[1] * (site.rank - 2))
            members = (parameter(scale.reshape(ones), "scale"), parameter(shift.reshape(ones), "shift"))
            return Code(("{0} * {m0} + {m1}",), members)
        state = {"weight": scale, "bias": shift, "running_mean": stored[0], "running_var": stored[1]}
        state["num_batches_tracked"] = np.array(0, np.int64)
        args = (Arg("num_features", scale.size), Arg("eps", float(number(site.layer.eps)), 1e-5))
        return Code(("{m0}({0})",), (Member(f"nn.BatchNorm{max(1, site.rank - 2)}d", args, state),), wraps=True)

    def check(self, site: Site) -> None:
        if not (site.layer.plain or site.layer.stored):
            raise NotExported("it normalises by the batch at hand")

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        self.check(site)
        scale, shift, *stored = (p.reshape(-1) for p in site.params)
        if site.layer.plain:
            ones = (-1, *[1] * (site.rank - 2))
            y = g.add("Mul", x[0], g.values(scale.reshape(ones), "scale"))
            return [g.add("Add", y, g.values(shift.reshape(ones), "shift"))]
        values = [
            g.values(v, n) for v, n in zip((scale, shift, *stored), ("scale", "bias", "mean", "var"), strict=True)
        ]
        return [g.add("BatchNormalization", x[0], *values, epsilon=site.layer.eps)]


def spread(site: Site, value: np.ndarray) -> np.ndarray:
    """Values along some axes, with axes of size 1 behind them."""
    axis, shape = site.layer.cover(site.bottoms)
    return value.reshape(*shape, *[1] * (site.rank - axis - len(shape)))


def along(site: Site) -> tuple[str, int]:
    """How a second bottom is spread over the first: an index for PyTorch, and how many axes to add behind."""
    axis, shape = site.layer.cover(site.bottoms)
    behind = site.rank - axis - len(shape)
    return ("[..." + ", None" * behind + "]" if behind else ""), behind


def unsqueezed(site: Site, g: Nodes, x: str) -> str:
    behind = along(site)[1]
    axes = len(site.bottoms[1])
    return g.add("Unsqueeze", x, g.ints(*range(axes, axes + behind))) if behind else x


@form("Scale")
class Scale(Form):
    def code(self, site: Site) -> Code:
        members = []
        if len(site.bottoms) == 2:
            text = f"{{0}} * {{1}}{along(site)[0]}"
        else:
            members.append(parameter(spread(site, site.params[0]), "weight"))
            text = "{0} * {m0}"
        if site.p.bias_term:
            text += f" + {{m{len(members)}}}"
            members.append(parameter(spread(site, site.params[-1]), "bias"))
        return Code((text,), tuple(members))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        two = len(site.bottoms) == 2
        factor = unsqueezed(site, g, x[1]) if two else g.values(spread(site, site.params[0]), "weight")
        y = g.add("Mul", x[0], factor)
        return [g.add("Add", y, g.values(spread(site, site.params[-1]), "bias")) if site.p.bias_term else y]


@form("Bias")
class Bias(Form):
    def code(self, site: Site) -> Code:
        if len(site.bottoms) == 2:
            return Code((f"{{0}} + {{1}}{along(site)[0]}",))
        return Code(("{0} + {m0}",), (parameter(spread(site, site.params[0]), "bias"),))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        two = len(site.bottoms) == 2
        return [
            g.add("Add", x[0], unsqueezed(site, g, x[1]) if two else g.values(spread(site, site.params[0]), "bias"))
        ]


@form("Normalize")
class Normalize(Form):
    def code(self, site: Site) -> Code:
        axes = tuple(range(1, site.rank)) if site.p.across_spatial else 1
        length = f"torch.sqrt({{0}}.square().sum({axes}, keepdim=True) + {number(site.p.eps)})"
        return Code((f"{{0}} / {length} * {{m0}}",), (parameter(self.scale(site), "scale"),))

    def scale(self, site: Site) -> np.ndarray:
        value = site.params[0]
        return value if value.ndim == 0 else value.reshape(-1, *[1] * (site.rank - 2))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        axes = list(range(1, site.rank)) if site.p.across_spatial else [1]
        squares = g.add("ReduceSumSquare", x[0], axes=axes, keepdims=1)
        length = g.add("Sqrt", g.add("Add", squares, g.values(site.p.eps)))
        return [g.add("Mul", g.add("Div", x[0], length), g.values(self.scale(site), "scale"))]


@form("MVN")
class MVN(Form):
    def axes(self, site: Site) -> list[int]:
        if site.rank < 3 or (site.rank < 4 and site.tops[0] != site.bottoms[0]):
            raise NotExported(f"a bottom of {site.rank} axes")
        return list(range(1 if site.p.across_channels else 2, site.rank))

    def code(self, site: Site) -> Code:
        axes = tuple(self.axes(site))
        if not site.p.normalize_variance:
            return Code((f"{{0}} - {{0}}.mean({axes}, keepdim=True)",))
        helper = f"normalize({{0}}, {axes}, {number(site.p.eps)})"
        return Code((helper,), helpers=("normalize",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        axes = self.axes(site)
        y = g.add("Sub", x[0], g.add("ReduceMean", x[0], axes=axes, keepdims=1))
        if not site.p.normalize_variance:
            return [y]
        deviation = g.add("Sqrt", g.add("ReduceMean", g.add("Mul", y, y), axes=axes, keepdims=1))
        return [g.add("Div", y, g.add("Add", deviation, g.values(site.p.eps)))]
