"""Orders: the published draws, wrapping, shards, exact resuming."""

import json

import pytest

from netspec.data.order import RandomDraw, Sequential, Shuffled
from netspec.errors import SpecError


def take(order, count):
    return [order.next() for _ in range(count)]


# Computed with Python 2.7's random.seed(seed), randint(0, n - 1).
PYTHON_2 = [
    (1337, 8498, [5249, 4531, 3108, 4978, 1408, 7005]),
    (5, 795, [495, 589, 632, 749, 588, 733]),
    (-3, 2488, [592, 1354, 920, 1502, 1556, 163]),
    (2**40 + 1, 736, [129, 610, 391, 544, 171, 512]),
]


@pytest.mark.parametrize("seed, n, draws", PYTHON_2)
def test_random_draws_are_those_of_python_2(seed, n, draws):
    assert take(RandomDraw(n, seed), 6) == draws


def test_sequential_starts_and_wraps():
    assert take(Sequential(3), 7) == [0, 1, 2, 0, 1, 2, 0]
    assert take(Sequential(3, start=2), 4) == [2, 0, 1, 2]


def test_shuffled_passes_are_permutations_that_differ():
    order = Shuffled(20, 7)
    passes = [take(order, 20) for _ in range(3)]
    assert all(sorted(p) == list(range(20)) for p in passes)
    assert passes[0] != passes[1] != passes[2]
    assert take(Shuffled(5, 7), 10) == [3, 4, 1, 0, 2, 1, 4, 2, 3, 0]
    assert take(Shuffled(20, 8), 20) != passes[0]


MAKERS = [
    lambda **k: Sequential(5, 2, **k),
    lambda **k: RandomDraw(5, 1337, **k),
    lambda **k: Shuffled(5, 3, **k),
]


@pytest.mark.parametrize("make", MAKERS)
def test_shards_together_walk_the_one_sequence(make):
    shards = [take(make(rank=r, world=3), 8) for r in range(3)]
    assert [shards[k % 3][k // 3] for k in range(24)] == take(make(), 24)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("taken", [0, 1, 4, 13])
def test_resumes_exactly_through_json(make, taken):
    order = make()
    take(order, taken)
    state = json.loads(json.dumps(order.state()))
    resumed = make()
    take(resumed, 3)
    resumed.restore(state)
    assert take(resumed, 12) == take(order, 12)


@pytest.mark.parametrize("make", MAKERS)
def test_a_state_fits_another_number_of_workers(make):
    whole = take(make(), 30)
    shards = [make(rank=r, world=2) for r in range(2)]
    for shard in shards:
        take(shard, 6)
    assert shards[0].state() == shards[1].state()
    alone = make()
    alone.restore(shards[0].state())
    assert take(alone, 18) == whole[12:]


def test_a_seed_from_the_clock_is_kept_in_the_state():
    order = RandomDraw(1000)
    take(order, 5)
    resumed = RandomDraw(1000)
    resumed.restore(order.state())
    assert take(resumed, 20) == take(order, 20)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": 4}, "has n 4, the net's data has 5"),
        ({"order": "Shuffled"}, "'Shuffled'"),
        ({"taken": -1}, "taken -1"),
        ({"taken": 10**15}, "taken 1000000000000000"),
        ({"taken": "3"}, "taken '3'"),
        ({"seed": "x"}, "seed 'x'"),
    ],
)
def test_false_states_are_refused(change, message):
    order = RandomDraw(5, 1)
    with pytest.raises(SpecError, match=message):
        order.restore(order.state() | change)


def test_an_order_over_nothing_is_refused():
    with pytest.raises(SpecError, match="at least 1"):
        Sequential(0)
    with pytest.raises(ValueError, match="rank 2"):
        Sequential(3, rank=2, world=2)
