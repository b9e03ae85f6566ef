"""The layered layout: what must hold for any graph."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.draw.layered import Edge, layered, ranks


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[Edge]]:
    widths = draw(st.lists(st.sampled_from([40.0, 80.0, 150.0]), min_size=1, max_size=14))
    pairs = st.tuples(st.integers(0, len(widths) - 1), st.integers(0, len(widths) - 1), st.sampled_from("ab"))
    edges = [Edge(s, t, key) for s, t, key in draw(st.lists(pairs, max_size=24)) if s != t]
    return widths, edges


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph(drawn: tuple[list[float], list[Edge]]) -> None:
    widths, edges = drawn
    found = layered(widths, edges, gap=20)
    for edge, points in zip(edges, found.points, strict=True):
        first, last = sorted((edge.source, edge.target))
        assert [r for r, _ in points] == list(range(found.rank[first] + 1, found.rank[last]))
    for rank in range(found.ranks):
        row = sorted((found.x[n], widths[n]) for n in range(len(widths)) if found.rank[n] == rank)
        for (xa, wa), (xb, wb) in zip(row, row[1:], strict=False):
            assert xb - xa >= (wa + wb) / 2 + 20 - 1e-6
        passing = [x for points in found.points for r, x in points if r == rank]
        assert all(abs(x - xn) >= w / 2 for x in passing for xn, w in row)


def test_ranks_keep_edges_short() -> None:
    assert ranks(4, [Edge(0, 1), Edge(1, 3), Edge(2, 3)]) == [0, 1, 1, 2]
    assert ranks(3, []) == [0, 0, 0]


def test_a_chain_with_a_skip_is_straight() -> None:
    found = layered([80.0] * 5, [Edge(n, n + 1) for n in range(4)] + [Edge(0, 4, "skip")])
    assert max(found.x) - min(found.x) < 1e-6
    assert len({x for _, x in found.points[-1]}) == 1 and len(found.points[-1]) == 3


def test_one_value_read_far_away_twice_is_one_line() -> None:
    edges = [Edge(n, n + 1) for n in range(4)] + [Edge(0, 3, "label"), Edge(0, 4, "label")]
    found = layered([80.0] * 5, edges)
    assert found.points[-1][:2] == found.points[-2]


def test_crossings_are_removed() -> None:
    found = layered([50.0] * 4, [Edge(0, 3), Edge(1, 2)])
    assert (found.x[0] < found.x[1]) == (found.x[3] < found.x[2])


def test_branches_are_centred_and_ends_tied() -> None:
    edges = [Edge(0, n) for n in (1, 2, 3)] + [Edge(n, 4) for n in (1, 2, 3)]
    found = layered([60.0] * 5, edges, tied=(0, 4))
    assert abs(found.x[0] - sorted(found.x[1:4])[1]) < 1e-6 and found.x[0] == found.x[4]
