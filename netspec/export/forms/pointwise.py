"""Forms of layers that compute every value from those in its place."""

from __future__ import annotations

from netspec.export.forms import Arg, Code, Form, Member, NotExported, Site, form, number
from netspec.export.nodes import Nodes


class Function(Form):
    """A function of PyTorch and an operator of ONNX that agree."""

    def __init__(self, expr: str = "", op: str = "") -> None:
        self.expr, self.op = expr, op

    def code(self, site: Site) -> Code:
        return Code((self.expr,), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add(self.op, x[0])]


@form("Sigmoid")
class Sigmoid(Function):
    def __init__(self) -> None:
        super().__init__("torch.sigmoid({0})", "Sigmoid")


@form("TanH")
class TanH(Function):
    def __init__(self) -> None:
        super().__init__("torch.tanh({0})", "Tanh")


@form("AbsVal")
class AbsVal(Function):
    def __init__(self) -> None:
        super().__init__("torch.abs({0})", "Abs")


@form("BNLL")
class BNLL(Function):
    def __init__(self) -> None:
        super().__init__("F.softplus({0}, threshold=50)", "Softplus")


@form("ReLU")
class ReLU(Form):
    def code(self, site: Site) -> Code:
        slope = site.p.negative_slope
        return Code((f"F.leaky_relu({{0}}, {number(slope)})" if slope else "F.relu({0})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        slope = site.p.negative_slope
        return [g.add("LeakyRelu", x[0], alpha=slope) if slope else g.add("Relu", x[0])]


@form("ReLU6")
class ReLU6(Form):
    def code(self, site: Site) -> Code:
        return Code(("F.relu6({0})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Clip", x[0], g.values(0.0), g.values(6.0))]


@form("Clip")
class Clip(Form):
    def code(self, site: Site) -> Code:
        return Code((f"torch.clamp({{0}}, {number(site.p.min)}, {number(site.p.max)})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Clip", x[0], g.values(site.p.min), g.values(site.p.max))]


@form("ELU")
class ELU(Form):
    def code(self, site: Site) -> Code:
        alpha = site.p.alpha
        return Code(("F.elu({0})" if alpha == 1 else f"F.elu({{0}}, {number(alpha)})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Elu", x[0], alpha=site.p.alpha)]


@form("SeLu")
class SeLu(Form):
    def code(self, site: Site) -> Code:
        factor, alpha = number(getattr(site.p, "lambda")), number(site.p.alpha)
        return Code((f"{factor} * F.elu({{0}}, {alpha})",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Selu", x[0], alpha=site.p.alpha, gamma=getattr(site.p, "lambda"))]


@form("PReLU")
class PReLU(Form):
    def code(self, site: Site) -> Code:
        slope = site.params[0].reshape(-1)
        member = Member("nn.PReLU", (Arg("num_parameters", slope.size, 1),), {"weight": slope})
        return Code(("{m0}({0})",), (member,), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("PRelu", x[0], g.values(site.params[0].reshape(-1, *[1] * (site.rank - 2)), "slope"))]


@form("Dropout")
class Dropout(Form):
    def code(self, site: Site) -> Code:
        self.check(site)
        return Code((f"F.dropout({{0}}, {number(site.p.dropout_ratio)}, self.training)",), wraps=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        self.check(site)
        return [x[0]]

    def check(self, site: Site) -> None:
        if site.layer.drops:
            raise NotExported("sample_weights_test draws at random")


@form("SpatialDropout", "SeLuDropout", "Split")
class Same(Form):
    """Layers that pass their bottom on, to as many tops as there are."""

    def code(self, site: Site) -> Code:
        return Code(("{0}",) * len(site.tops))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [x[0]] * len(site.tops)


@form("Silence")
class Silence(Same):
    """No tops, nothing to write."""


@form("Swish")
class Swish(Form):
    def code(self, site: Site) -> Code:
        beta = site.p.beta
        return Code(("F.silu({0})" if beta == 1 else f"{{0}} * torch.sigmoid({number(beta)} * {{0}})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        inner = x[0] if site.p.beta == 1 else g.add("Mul", x[0], g.values(site.p.beta))
        return [g.add("Mul", x[0], g.add("Sigmoid", inner))]


def linear(x: str, scale: float, shift: float) -> str:
    """Source of scale · x + shift, without what does nothing."""
    text = x if scale == 1 else f"{number(scale)} * {x}"
    return f"{text} + {number(shift)}" if shift else text


def linear_nodes(g: Nodes, x: str, scale: float, shift: float) -> str:
    y = x if scale == 1 else g.add("Mul", x, g.values(scale))
    return g.add("Add", y, g.values(shift)) if shift else y


@form("Power")
class Power(Form):
    def code(self, site: Site) -> Code:
        p = site.p
        inner = linear("{0}", p.scale, p.shift)
        if p.power == 1:
            return Code((inner if inner != "{0}" else "{0}",))
        return Code((f"torch.pow({inner}, {number(p.power)})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        y = linear_nodes(g, x[0], site.p.scale, site.p.shift)
        return [y if site.p.power == 1 else g.add("Pow", y, g.values(site.p.power))]


@form("Exp")
class Exp(Form):
    def code(self, site: Site) -> Code:
        base, p = site.layer.log_base, site.p
        return Code((f"torch.exp({linear('{0}', base * p.scale, base * p.shift)})",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        base, p = site.layer.log_base, site.p
        return [g.add("Exp", linear_nodes(g, x[0], base * p.scale, base * p.shift))]


@form("Log")
class Log(Form):
    def code(self, site: Site) -> Code:
        text = f"torch.log({linear('{0}', site.p.scale, site.p.shift)})"
        base = site.layer.log_base
        return Code((text if base == 1 else f"{text} / {number(base)}",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        y = g.add("Log", linear_nodes(g, x[0], site.p.scale, site.p.shift))
        base = site.layer.log_base
        return [y if base == 1 else g.add("Div", y, g.values(base))]


@form("Threshold")
class Threshold(Form):
    def code(self, site: Site) -> Code:
        return Code((f"({{0}} > {number(site.p.threshold)}).float()",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        return [g.add("Cast", g.add("Greater", x[0], g.values(site.p.threshold)), to=1)]


@form("Eltwise")
class Eltwise(Form):
    def code(self, site: Site) -> Code:
        names = [f"{{{i}}}" for i in range(len(site.bottoms))]
        operation = site.layer.operation
        if operation == "PROD":
            return Code((" * ".join(names),))
        if operation == "MAX":
            text = names[0]
            for other in names[1:]:
                text = f"torch.maximum({text}, {other})"
            return Code((text,))
        coeff = site.layer.coeff or [1.0] * len(names)
        text = signed(coeff[0], names[0])
        for c, name in zip(coeff[1:], names[1:], strict=True):
            text += f" - {signed(-c, name)}" if c < 0 else f" + {signed(c, name)}"
        return Code((text,))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        operation, y = site.layer.operation, list(x)
        if operation == "SUM" and site.layer.coeff:
            y = [v if c == 1 else g.add("Mul", v, g.values(c)) for v, c in zip(x, site.layer.coeff, strict=True)]
        if operation == "MAX":
            return [g.add("Max", *y)]
        total = y[0]
        for other in y[1:]:
            total = g.add("Mul" if operation == "PROD" else "Add", total, other)
        return [total]


def signed(factor: float, name: str) -> str:
    return name if factor == 1 else f"-{name}" if factor == -1 else f"{number(factor)} * {name}"


@form("Axpy")
class Axpy(Form):
    def code(self, site: Site) -> Code:
        ones = len(site.bottoms[1]) - 2
        spread = "" if len(site.bottoms[0]) == ones + 2 else "[:, :" + ", None" * ones + "]"
        if len(site.bottoms[0]) not in (2, ones + 2):
            raise NotExported(f"a factor of {len(site.bottoms[0])} axes")
        return Code((f"{{0}}{spread} * {{1}} + {{2}}",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        axes = len(site.bottoms[1])
        factor = x[0]
        if len(site.bottoms[0]) != axes:
            factor = g.add("Reshape", factor, g.ints(0, 0, *[1] * (axes - 2)))
        return [g.add("Add", g.add("Mul", factor, x[1]), x[2])]
