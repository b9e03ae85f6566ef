"""A plan as shapes on paper: boxes, frames, ways of wires, texts. Painters (`svg`, `png`) only copy them.

A tall picture is cut into columns, so that it has about the proportions of a slide; wires that pass a cut go on at the
top of the next column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from netspec.draw import layout
from netspec.draw.layout import HEADER, PAD_Y, Node, Plan, Route
from netspec.draw.picture import Block, Box, Line, Picture, text
from netspec.draw.theme import HEADING, LABEL, LINE, SMALL, STATUSES, TITLE, WORDS, width

MARGIN, BETWEEN, LANE, TURN = 28.0, 44.0, 11.0, 7.0
ARROW, RADIUS, SHEET = 6.0, 6.0, 4.0
# What a picture's width should be to its height, when it is cut, and from which height on it is.
ASPECT, TALL = 1.7, 900.0
# A wire that passes a cut costs as much as so many pixels of a column's height.
CUT_COST = 60.0
MOST_COLUMNS = 12
Step = tuple[str, tuple[float, ...]]


@dataclass(frozen=True)
class Rect:
    """`look` is a name in the theme; a closed block stands in front of a second sheet."""

    x: float
    y: float
    width: float
    height: float
    look: str
    radius: float = RADIUS
    heavy: bool = False
    dashed: bool = False
    line: bool = True


@dataclass(frozen=True)
class Way:
    """Steps of a path: M x y, L x y, C x1 y1 x2 y2 x y."""

    steps: tuple[Step, ...]
    look: str
    heavy: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Head:
    """The head of an arrow at a point, downwards or (`up`) upwards."""

    x: float
    y: float
    look: str
    up: bool = False


@dataclass(frozen=True)
class Text:
    """Runs of text side by side; `anchor` is start, middle or end. `y` is the base line."""

    x: float
    y: float
    runs: Line
    size: float
    anchor: str = "start"
    bold: bool = False
    halo: bool = False


@dataclass
class Scene:
    """Shapes from back to front."""

    title: str
    width: float = 0.0
    height: float = 0.0
    shapes: list[Rect | Way | Head | Text] = field(default_factory=list)


@dataclass
class _Paper:
    """Where each rank of a plan stands: its top and bottom, and how far its column is moved sideways."""

    top: list[float]
    bottom: list[float]
    shift: list[float]
    cuts: dict[int, _Cut] = field(default_factory=dict)


@dataclass
class _Cut:
    """Between two columns: the bottom of the first, the top of the second, the left of the gutter, and who passes."""

    bottom: float
    top: float
    gutter: float
    lanes: dict[tuple[int, str], int]


def scene(picture: Picture, closed: bool = False, aspect: float | None = ASPECT) -> Scene:
    """The picture as shapes; `closed`: its blocks are. Without `aspect` it is one column."""
    plan = layout.plan(picture, closed)
    out = Scene(picture.title)
    y = MARGIN + heading(out, picture)
    paper, wide, bottom = placed(plan, y, aspect)
    draw_plan(out, picture, plan, paper)
    out.width = max(wide, *(x for x in ends(out)), legend(out, picture, bottom + 34)) + MARGIN
    out.height = bottom + MARGIN + (30 if picture.legend else 0)
    return out


def ends(out: Scene) -> list[float]:
    """Where the heading's texts end."""
    return [t.x + width("".join(r for r, _ in t.runs), t.size, t.bold) for t in out.shapes[:2] if isinstance(t, Text)]


def heading(out: Scene, picture: Picture) -> float:
    """Title and note; their height."""
    out.shapes.append(Text(MARGIN, MARGIN + 10, text(picture.title), HEADING, bold=True))
    out.shapes.append(Text(MARGIN, MARGIN + 28, text((picture.note, "dim")), TITLE))
    return 50.0


def legend(out: Scene, picture: Picture, y: float) -> float:
    """What the colours mean, in a row; where it ends."""
    x = MARGIN
    for look in picture.legend:
        out.shapes.append(Rect(x, y - 9, 14, 11, look, 3))
        word = {**WORDS, **STATUSES}.get(look, look)
        out.shapes.append(Text(x + 20, y, text((word, "dim")), SMALL + 1))
        x += 20 + width(word, SMALL + 1) + 18
    return x - 18


# -- columns


def placed(plan: Plan, y: float, aspect: float | None) -> tuple[_Paper, float, float]:
    """Where the ranks stand on paper, and its right and lower end."""
    top, height = layout.tops(plan)
    heights = layout.rank_heights(plan)
    firsts = columns(plan, top, height, aspect) if aspect and height > TALL else [0]
    y += LANE * max([len(passing(plan, first)) for first in firsts[1:]], default=0)
    paper = _Paper([], [], [])
    left, lowest = MARGIN, y
    for first, following in zip(firsts, [*firsts[1:], len(heights)], strict=True):
        low, high = extent(plan, range(first, following))
        for r in range(first, following):
            paper.top.append(y + top[r] - top[first])
            paper.bottom.append(paper.top[-1] + heights[r])
            paper.shift.append(left - low)
        lowest = max(lowest, paper.bottom[-1])
        right = left + high - low
        left = right
        if following < len(heights):
            lanes = passing(plan, following)
            paper.cuts[following] = _Cut(paper.bottom[-1] + 16, y - 12, right + 18, lanes)
            lowest = max(lowest, paper.bottom[-1] + 16 + LANE * len(lanes))
            left = right + BETWEEN + LANE * len(lanes)
    return paper, left, lowest


def columns(plan: Plan, top: Sequence[float], height: float, aspect: float) -> list[int]:
    """The first rank of each column, for the number of columns that comes nearest to the aspect."""
    best, found = float("inf"), [0]
    for count in range(1, MOST_COLUMNS + 1):
        firsts = cuts(plan, top, height, count)
        bounds = list(zip(firsts, [*firsts[1:], len(top)], strict=True))
        wide = sum(high - low + BETWEEN for low, high in (extent(plan, range(a, b)) for a, b in bounds))
        high = max((top[b] if b < len(top) else height) - top[a] for a, b in bounds)
        off = abs((wide / high) / aspect - 1) if wide < high * aspect else abs((high * aspect / wide) - 1)
        if off < best:
            best, found = off, firsts
    return found


def cuts(plan: Plan, top: Sequence[float], height: float, count: int) -> list[int]:
    """First ranks of `count` columns of about equal height, cut where few wires pass."""
    loads = [len(passing(plan, r)) for r in range(len(top))]
    firsts = [0]
    for k in range(1, count):
        goal = height * k / count
        room = [r for r in range(firsts[-1] + 1, len(top))]
        if room:
            firsts.append(min(room, key=lambda r: abs(top[r] - goal) + CUT_COST * loads[r]))
    return firsts


def passing(plan: Plan, rank: int) -> dict[tuple[int, str], int]:
    """The values that pass from the rank before to this one or beyond, and their lanes: the rightmost is the first."""
    found: dict[tuple[int, str], float] = {}
    for route in plan.routes:
        if plan.rank[route.source] < rank <= plan.rank[route.target]:
            before = [x for r, x in route.points if r == rank - 1]
            found[(route.source, route.blob)] = before[0] if before else route.start
    return {key: i for i, key in enumerate(sorted(found, key=lambda k: -found[k]))}


def extent(plan: Plan, ranks: range) -> tuple[float, float]:
    """The least and greatest x in some ranks."""
    spans = [
        (x - n.width / 2, x + n.width / 2) for n, x, r in zip(plan.nodes, plan.x, plan.rank, strict=True) if r in ranks
    ]
    for route in plan.routes:
        spans += [(x, x) for r, x in route.points if r in ranks]
        if plan.rank[route.source] in ranks:
            spans.append((route.start + route.label()[0], route.start + route.label()[1]))
    return min((a for a, _ in spans), default=0.0), max((b for _, b in spans), default=0.0)


# -- drawing


def draw_plan(out: Scene, picture: Picture, plan: Plan, paper: _Paper) -> None:
    """All of a plan, wires first."""
    where = [bounds(n, plan.x[i], plan.rank[i], paper) for i, n in enumerate(plan.nodes)]
    for i, node in enumerate(plan.nodes):
        if node.plan:
            draw_frame(out, picture.blocks[node.block], where[i])
    seen: set[tuple[Step, ...]] = set()
    for route in plan.routes:
        draw_route(out, plan, route, where, paper, seen)
    for route in plan.routes:
        out.shapes += lane_names(plan, route, paper)
    for i, node in enumerate(plan.nodes):
        if node.plan:
            x, y, _, _ = where[i]
            draw_plan(out, picture, node.plan, inner_paper(node.plan, x, y + HEADER))
        elif node.block >= 0:
            draw_closed(out, picture.blocks[node.block], where[i])
        elif node.box >= 0:
            draw_box(out, picture.boxes[node.box], where[i])
    for route in plan.routes:
        if route.shape:
            x, y, _, high = where[route.source]
            at = x + route.start - plan.x[route.source] + plan.nodes[route.source].width / 2 + (-5 if route.left else 5)
            anchor = "end" if route.left else "start"
            sheet = SHEET if plan.nodes[route.source].block >= 0 and not plan.nodes[route.source].plan else 0
            out.shapes.append(Text(at, y + high + sheet + 12, text((route.shape, "dim")), LABEL, anchor, halo=True))


Bounds = tuple[float, float, float, float]


def bounds(node: Node, x: float, rank: int, paper: _Paper) -> Bounds:
    """Left, top, width and height of a node, in the middle of its rank's height."""
    middle = (paper.top[rank] + paper.bottom[rank]) / 2
    return x + paper.shift[rank] - node.width / 2, middle - node.height / 2, node.width, node.height


def inner_paper(plan: Plan, x: float, y: float) -> _Paper:
    """The paper of a block's inside."""
    top, _ = layout.tops(plan)
    ends = [y + t + h for t, h in zip(top, layout.rank_heights(plan), strict=True)]
    return _Paper([y + t for t in top], ends, [x] * len(top))


def draw_frame(out: Scene, block: Block, where: Bounds) -> None:
    """An open block: a sheet with a bar that bears its title."""
    x, y, wide, high = where
    out.shapes += [
        Rect(x, y, wide, high, "block", 8),
        Rect(x, y, wide, HEADER, "other", 8),
        Text(x + wide / 2, y + 17, text(block.title), TITLE, "middle", bold=True),
    ]


def draw_closed(out: Scene, block: Block, where: Bounds) -> None:
    """A closed block: a sheet in front of another."""
    x, y, wide, high = where
    out.shapes += [Rect(x + SHEET, y + SHEET, wide, high, "other"), Rect(x, y, wide, high, "other")]
    lines = [text(block.title), *(text((line, "dim")) for line in layout.note_lines(block))]
    draw_lines(out, lines, where)


def draw_box(out: Scene, box: Box, where: Bounds) -> None:
    """A box and its lines."""
    marked = box.status not in ("", "same")
    out.shapes.append(Rect(*where, box.status or box.kind, heavy=marked, dashed=box.status == "removed"))
    draw_lines(out, box.lines, where)


def draw_lines(out: Scene, lines: Sequence[Line], where: Bounds) -> None:
    x, y, wide, _ = where
    base = y + PAD_Y + 12
    for n, line in enumerate(lines):
        out.shapes.append(Text(x + wide / 2, base, line, SMALL if n else TITLE, "middle", bold=not n))
        base += LINE[SMALL] if n else LINE[TITLE] - 1


def draw_route(
    out: Scene, plan: Plan, route: Route, where: Sequence[Bounds], paper: _Paper, seen: set[tuple[Step, ...]]
) -> None:
    """A wire, piece by piece, none twice, and its arrow."""
    look = route.status if route.status not in ("", "same") else "wire"
    way = [(plan.rank[route.source], route.start), *route.points, (plan.rank[route.target], route.end)]
    begin, end = where[route.source][1] + where[route.source][3], where[route.target][1]
    arrow = plan.nodes[route.target].box >= 0 or plan.nodes[route.target].block >= 0
    heavy, dashed = look != "wire", look == "removed"
    for k, ((r, a), (_, b)) in enumerate(zip(way, way[1:], strict=False)):
        first, last = k == 0, k == len(way) - 2
        x0, x1 = a + paper.shift[r], b + paper.shift[r + 1]
        y0 = begin if first else paper.top[r]
        y1 = end - (ARROW if arrow and last and not route.backward else 0) if last else paper.top[r + 1]
        cut = paper.cuts.get(r + 1)
        steps = piece((x0, y0, paper.bottom[r]), (x1, paper.top[r + 1], y1), cut, route)
        if steps not in seen:
            seen.add(steps)
            out.shapes.append(Way(steps, look, heavy, dashed))
    if route.backward:
        out.shapes.append(Head(way[0][1] + paper.shift[way[0][0]], begin, look, up=True))
    elif arrow:
        out.shapes.append(Head(way[-1][1] + paper.shift[way[-1][0]], end, look))


def piece(
    start: tuple[float, float, float], end: tuple[float, float, float], cut: _Cut | None, route: Route
) -> tuple[Step, ...]:
    """From (x, y) down to the end of its rank, to the begin of the next rank, and down to y there."""
    (x0, y0, low), (x1, high, y1) = start, end
    if cut is not None:
        return over(x0, y0, x1, y1, cut, cut.lanes[(route.source, route.blob)])
    if abs(x0 - x1) < 0.5:
        return ("M", (x0, y0)), ("L", (x0, y1))
    half = (high - low) / 2
    return (
        ("M", (x0, y0)),
        ("L", (x0, low)),
        ("C", (x0, low + half, x1, high - half, x1, high)),
        ("L", (x1, y1)),
    )


def over(x0: float, y0: float, x1: float, y1: float, cut: _Cut, lane: int) -> tuple[Step, ...]:
    """Around to the next column: down, right, up, right, down, with round corners."""
    low, gutter = cut.bottom + LANE * lane, cut.gutter + LANE * lane
    high = cut.top - LANE * (len(cut.lanes) - 1 - lane)
    corners = [(x0, low), (gutter, low), (gutter, high), (x1, high)]
    steps: list[Step] = [("M", (x0, y0))]
    stops = [(x0, y0), *corners, (x1, y1)]
    for (ax, ay), (bx, by), (cx, cy) in zip(stops, stops[1:], stops[2:], strict=False):
        before, after = near((bx, by), (ax, ay)), near((bx, by), (cx, cy))
        steps += [("L", before), ("C", (*before, bx, by, *after))]
    return (*steps, ("L", (x1, y1)))


def lane_names(plan: Plan, route: Route, paper: _Paper) -> Iterator[Rect | Text]:
    """The value's name on its way above a column, where several pass and there is room before the turn down."""
    way = [(plan.rank[route.source], route.start), *route.points, (plan.rank[route.target], route.end)]
    wide = width(route.blob, LABEL)
    for (r, _), (_, x) in zip(way, way[1:], strict=False):
        cut = paper.cuts.get(r + 1)
        if cut is None or len(cut.lanes) < 2 or not route.blob:
            continue
        lane = cut.lanes[(route.source, route.blob)]
        left, right = cut.gutter + LANE * lane + TURN, x + paper.shift[r + 1] - TURN - 6
        if right - left >= wide + 6:
            y = cut.top - LANE * (len(cut.lanes) - 1 - lane)
            yield Rect(right - wide - 3, y - LANE / 2, wide + 6, LANE - 1, "paper", 0)
            yield Text(right, y + 3, text((route.blob, "dim")), LABEL, "end")


def near(corner: tuple[float, float], to: tuple[float, float]) -> tuple[float, float]:
    """The point where the rounding of a corner begins, on the way to another point."""
    dx, dy = to[0] - corner[0], to[1] - corner[1]
    length = max(abs(dx), abs(dy), 1e-9)
    part = min(TURN, length / 2) / length
    return corner[0] + dx * part, corner[1] + dy * part
