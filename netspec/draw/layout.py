"""Where everything of a picture stands: plans of ranks, one in another for blocks, and their heights.

A plan knows ranks and x only; y follows from the heights of the nodes, by `tops`. A page does that last step itself
whenever a block is opened or closed.

1. A block takes the width it has when open. What enters and leaves it does so at its middle.
2. Inside, an entry of no size stands above all boxes that read from outside, and an exit below the last. The title
   stands above the entry, in a bar.
3. Ends of wires at a box stand as near to where they come from as its side allows, apart from each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from netspec.draw.layered import Edge, layered
from netspec.draw.picture import Block, Box, Picture, Wire, plain
from netspec.draw.theme import LABEL, LINE, SMALL, TITLE, width

PAD_X, PAD_Y, LEAST = 12, 7, 84
HEADER, INSET = 26, 14
GAP_X, GAP, LABELLED, MOST_GAP = 22, 24, 34, 60
PORT, EDGE = 16.0, 14.0
# How far sideways a wire goes that would cross a text beside its start.
BENT = 2.0


@dataclass
class Node:
    """A box, a block with its own plan, or the entry or exit of a block (neither); sizes open and closed."""

    box: int = -1
    block: int = -1
    width: float = 0.0
    height: float = 0.0
    closed: tuple[float, float] = (0.0, 0.0)
    plan: Plan | None = None


@dataclass
class Route:
    """A wire's way: from node to node at x of its ends, through points (rank, x) between.

    Its shape stands to the right of its start, or (`left`) to the left.
    """

    source: int
    target: int
    start: float
    end: float
    points: list[tuple[int, float]]
    blob: str = ""
    shape: str = ""
    status: str = ""
    backward: bool = False
    left: bool = False

    def label(self) -> tuple[float, float]:
        """From where to where its shape goes, seen from its start; nothing without a shape."""
        room = 8 + width(self.shape, LABEL) if self.shape else 0.0
        return (-room, 0.0) if self.left else (0.0, room)


@dataclass
class Plan:
    """Nodes by rank and x, from 0 to `width`; `gaps` are the distances between ranks."""

    nodes: list[Node]
    rank: list[int]
    x: list[float]
    routes: list[Route]
    gaps: list[float]
    width: float = 0.0


@dataclass
class _Parts:
    """What a plan is made of."""

    nodes: list[Node] = field(default_factory=list)
    wires: list[tuple[int, int, Wire]] = field(default_factory=list)
    tied: tuple[int, int] | None = None


def plan(picture: Picture, closed: bool = False) -> Plan:
    """The plan of a picture; `closed`: blocks are boxes and have no plan of their own."""
    inside = {box: b for b, block in enumerate(picture.blocks) for box in block.boxes}
    parts = _Parts()
    at: dict[int, int] = {}
    for n, box in enumerate(picture.boxes):
        block = inside.get(n)
        if block is None:
            at[n] = len(parts.nodes)
            parts.nodes.append(box_node(n, box))
        elif n == picture.blocks[block].boxes[-1]:
            at.update(dict.fromkeys(picture.blocks[block].boxes, len(parts.nodes)))
            parts.nodes.append(block_node(picture, block, closed))
    wires = {(at[w.source], at[w.target], w.blob, w.status): w for w in picture.wires if at[w.source] != at[w.target]}
    parts.wires = [(source, target, w) for (source, target, _, _), w in wires.items()]
    return planned(parts)


def box_node(n: int, box: Box) -> Node:
    """A box, as large as its lines."""
    return Node(box=n, width=box_width(box), height=2 * PAD_Y + LINE[TITLE] + LINE[SMALL] * (len(box.lines) - 1))


def box_width(box: Box) -> float:
    sizes = [TITLE, *[SMALL] * (len(box.lines) - 1)]
    widest = max(width(plain(line), size, size == TITLE) for line, size in zip(box.lines, sizes, strict=True))
    return max(LEAST, 8 * -(-(widest + 2 * PAD_X) // 8))


def block_node(picture: Picture, number: int, closed: bool) -> Node:
    """A block, when open with the plan of its inside."""
    block = picture.blocks[number]
    small = closed_size(block)
    if closed:
        return Node(block=number, width=small[0], height=small[1], closed=small)
    inner = planned(block_parts(picture, block))
    wide = max(inner.width + 2 * INSET, small[0])
    moved(inner, (wide - inner.width) / 2)
    inner.width = wide
    return Node(block=number, width=wide, height=HEADER + tops(inner)[1], closed=small, plan=inner)


def closed_size(block: Block) -> tuple[float, float]:
    """A closed block has its title and its note in two lines at most."""
    lines = note_lines(block)
    wide = max(width(block.title, TITLE, True), *(width(line, SMALL) for line in lines))
    return max(LEAST, wide + 2 * PAD_X + 16), 2 * PAD_Y + LINE[TITLE] + LINE[SMALL] * len(lines)


def note_lines(block: Block) -> list[str]:
    """The note, cut at its colon."""
    head, _, rest = block.note.partition(": ")
    return [head, rest] if rest else [head]


def block_parts(picture: Picture, block: Block) -> _Parts:
    """The inside of a block, with entry and exit."""
    at = {box: i + 1 for i, box in enumerate(block.boxes)}
    out = len(block.boxes) + 1
    nodes = [Node(), *[box_node(n, picture.boxes[n]) for n in block.boxes], Node()]
    wires = [(at[w.source], at[w.target], w) for w in picture.wires if w.source in at and w.target in at]
    entering = {at[w.target] for w in picture.wires if w.target in at and w.source not in at}
    wires += [(0, n, Wire(0, n, "")) for n in sorted(entering)]
    wires.append((at[block.boxes[-1]], out, Wire(0, 0, "")))
    return _Parts(nodes, wires, (0, out))


def planned(parts: _Parts) -> Plan:
    """Ranks, places and ways."""
    edges = [Edge(s, t, f"{w.blob}\0{w.status}") for s, t, w in parts.wires]
    found = layered([n.width for n in parts.nodes], edges, GAP_X, tied=parts.tied)
    routes = [
        Route(min(s, t), max(s, t), 0, 0, points, w.blob, w.shape, w.status, s > t)
        for (s, t, w), points in zip(parts.wires, found.points, strict=True)
    ]
    out = Plan(parts.nodes, found.rank, found.x, routes, [GAP] * max(found.ranks - 1, 0))
    ports(out)
    labels(out)
    out.gaps = gaps(out)
    fit(out, parts.tied is not None)
    return out


def moved(plan: Plan, by: float) -> None:
    """Moves everything of a plan sideways."""
    plan.x = [x + by for x in plan.x]
    for route in plan.routes:
        route.start, route.end = route.start + by, route.end + by
        route.points = [(r, x + by) for r, x in route.points]


def fit(plan: Plan, symmetric: bool) -> None:
    """Moves a plan to the right of 0 and measures it; a symmetric one has its entry at its middle."""
    spans = [(x - n.width / 2, x + n.width / 2) for x, n in zip(plan.x, plan.nodes, strict=True)]
    spans += [(x - EDGE / 2, x + EDGE / 2) for route in plan.routes for _, x in route.points]
    spans += [(r.start + low, r.start + high) for r in plan.routes for low, high in (r.label(),)]
    left, right = min((a for a, _ in spans), default=0.0), max((b for _, b in spans), default=0.0)
    if symmetric:
        half = max(plan.x[0] - left, right - plan.x[0])
        left, right = plan.x[0] - half, plan.x[0] + half
    moved(plan, -left)
    plan.width = right - left


def ports(plan: Plan) -> None:
    """The x where each wire leaves and arrives."""
    leaving: dict[int, dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
    arriving: dict[int, list[Route]] = defaultdict(list)
    for route in plan.routes:
        leaving[route.source][route.blob].append(route)
        arriving[route.target].append(route)
    for n, values in leaving.items():
        groups = list(values.values())
        wanted = [nearest([toward(plan, r) for r in group], plan.x[n]) for group in groups]
        room = max([PORT, *(width(r.shape, LABEL) + 4 for r in plan.routes if r.source == n)])
        for group, x in zip(groups, apart(plan, n, wanted, room), strict=True):
            for route in group:
                route.start = x
    for n, routes in arriving.items():
        wanted = [r.points[-1][1] if r.points else r.start for r in routes]
        for route, x in zip(routes, apart(plan, n, wanted, PORT), strict=True):
            route.end = x


def nearest(places: Sequence[float], middle: float) -> float:
    """The place nearest to the middle."""
    return min(places, key=lambda x: abs(x - middle))


def toward(plan: Plan, route: Route) -> float:
    """Where a wire goes next."""
    return route.points[0][1] if route.points else plan.x[route.target]


def apart(plan: Plan, n: int, wanted: Sequence[float], room: float) -> list[float]:
    """Places on the side of a node near the wanted ones, in their order, `room` apart where there is so much."""
    middle, half = plan.x[n], max(plan.nodes[n].width / 2 - EDGE, 0.0)
    if len(wanted) == 1 or plan.nodes[n].plan or not half:
        return [middle] * len(wanted)
    room = min(room, 2 * half / (len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    out = [0.0] * len(wanted)
    last = middle - half - room
    for k, i in enumerate(order):
        most = middle + half - room * (len(order) - 1 - k)
        last = out[i] = min(max(wanted[i], last + room, middle - half), most)
    return out


def labels(plan: Plan) -> None:
    """Only one wire of a value bears its shape, at the side that the value's wires leave free."""
    ways: dict[tuple[int, str], list[float]] = defaultdict(list)
    for route in plan.routes:
        following = route.points[0][1] if route.points else route.end
        ways[(route.source, route.blob)].append(following - route.start)
    seen: set[tuple[int, str]] = set()
    for route in plan.routes:
        value = (route.source, route.blob)
        if value in seen or route.backward:
            route.shape = ""
        route.left = max(ways[value]) > BENT and min(ways[value]) >= -BENT
        seen.add(value)


def gaps(plan: Plan) -> list[float]:
    """More room between ranks where wires go far sideways, or bear a shape."""
    out = [float(GAP)] * len(plan.gaps)
    for route in plan.routes:
        way = [(plan.rank[route.source], route.start), *route.points, (plan.rank[route.target], route.end)]
        for (r, a), (_, b) in zip(way, way[1:], strict=False):
            if r < len(out):
                out[r] = max(out[r], min(MOST_GAP, GAP + abs(a - b) * 0.1))
        if route.shape and plan.rank[route.source] < len(out):
            out[plan.rank[route.source]] = max(out[plan.rank[route.source]], LABELLED)
    return out


def tops(plan: Plan) -> tuple[list[float], float]:
    """The y where each rank begins, and the height of all."""
    out, y = [], 0.0
    for height, gap in zip(rank_heights(plan), [*plan.gaps, 0.0], strict=True):
        out.append(y)
        y += height + gap
    return out, y


def rank_heights(plan: Plan) -> list[float]:
    """The height of the tallest node of each rank."""
    heights = [0.0] * (len(plan.gaps) + 1)
    for node, rank in zip(plan.nodes, plan.rank, strict=True):
        heights[rank] = max(heights[rank], node.height)
    return heights
