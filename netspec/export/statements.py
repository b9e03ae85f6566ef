"""A plan as statements of PyTorch, before they are written: what is computed in what order, from what, with what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netspec.export.forms import Member, NotExported
from netspec.export.plan import Plan, Refusals
from netspec.ir.graph import Blob

LONGEST = 76


@dataclass(frozen=True)
class Statement:
    """`tops = expr`: in the expression {0}, {1} ... stand for `reads`, {m0}, {m1} ... for the members.

    `layers` are the names of the layers it stands for; each member is named by one of them.
    """

    expr: str
    tops: tuple[Blob, ...]
    reads: tuple[Blob, ...]
    members: tuple[tuple[str, Member], ...]
    layers: tuple[str, ...]
    wraps: bool


def statements(plan: Plan) -> tuple[list[Statement], set[str], dict[Blob, Blob]]:
    """Statements in order, the helpers they call, and for values that are other values these."""
    refusals = Refusals(plan.source, [])
    found: list[Statement] = []
    helpers: set[str] = set()
    same: dict[Blob, Blob] = {}
    for stop in plan.stops:
        try:
            code = stop.form.code(stop.site)
        except NotExported as e:
            refusals.add(stop, e)
            continue
        helpers.update(code.helpers)
        reads = tuple(same.get(b, b) for b in stop.bottoms)
        members = tuple((stop.site.name, m) for m in code.members)
        names = (stop.site.name, *([stop.site.scale.name] if stop.site.scale else []))
        groups = (
            [(code.exprs[0], stop.tops)]
            if code.joint
            else list(zip(code.exprs, [(t,) for t in stop.tops], strict=True))
        )
        for expr, tops in groups:
            if expr == "{0}":
                same[tops[0]] = reads[0]
            else:
                found.append(Statement(expr, tops, reads, members, names, code.wraps))
    refusals.raise_any()
    return nested(found, [same.get(b, b) for b in plan.outputs]), helpers, same


def nested(found: Sequence[Statement], outputs: Sequence[Blob]) -> list[Statement]:
    """Activations and normalisations written around what they are applied to: F.relu(self.conv1(x))."""
    reads = Counter(b for s in found for b in s.reads) + Counter(outputs)
    out: list[Statement] = []
    for statement in found:
        last = out[-1] if out else None
        plain = last is not None and len(last.tops) == 1 and statement.reads == last.tops
        if last is not None and plain and statement.wraps and reads[last.tops[0]] == 1 and joinable(last, statement):
            out[-1] = joined(last, statement)
        else:
            out.append(statement)
    return out


def joinable(inner: Statement, outer: Statement) -> bool:
    short = len(joined(inner, outer).expr) <= LONGEST and inner.expr.count("(") < 4
    return short and outer.expr.count("{0}") == 1 and not inner.expr.startswith("torch.split")


def joined(inner: Statement, outer: Statement) -> Statement:
    """The outer statement with the inner expression for its bottom."""
    shift = len(inner.members)
    text = outer.expr
    for i in reversed(range(len(outer.members))):
        text = text.replace(f"{{m{i}}}", f"{{m{i + shift}}}")
    return replace(
        outer,
        expr=text.replace("{0}", inner.expr),
        reads=inner.reads,
        members=inner.members + outer.members,
        layers=inner.layers + outer.layers,
        wraps=False,
    )
