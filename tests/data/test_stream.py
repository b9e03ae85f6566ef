"""The stream that decodes ahead: order, exact state, errors in their place, threads that end."""

import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from netspec.data.order import RandomDraw, Sequential
from netspec.data.stream import Stream


def load(i):
    time.sleep(0.002 * (i % 3))  # later items are ready before earlier ones
    return [np.full((1, 1, 2, i + 1), i, dtype=np.float32), np.array([i], dtype=np.float32)]


def values(stream, count):
    return [int(stream.next()[1][0]) for _ in range(count)]


@pytest.mark.parametrize("ahead, workers", [(1, 1), (4, 2), (9, 5)])
def test_order_is_that_of_the_draws(ahead, workers):
    stream = Stream(Sequential(7), load, ahead=ahead, workers=workers)
    assert values(stream, 20) == [k % 7 for k in range(20)]
    assert stream.last == 19 % 7
    stream.close()


def test_peeking_takes_nothing():
    stream = Stream(Sequential(3, start=1), load)
    state = stream.state()
    assert stream.peek_shapes() == stream.peek_shapes() == [(1, 1, 2, 2), (1,)]
    assert stream.state() == state and stream.last is None
    assert values(stream, 2) == [1, 2]


@pytest.mark.parametrize("taken", [0, 1, 5, 12])
def test_state_is_behind_the_last_item_handed_out(taken):
    stream = Stream(RandomDraw(50, 1337), load, ahead=6)
    values(stream, taken)
    stream.peek_shapes()
    state = stream.state()
    assert state["taken"] == taken
    expected = values(stream, 15)
    resumed = Stream(RandomDraw(50, 1), load, ahead=3)
    values(resumed, 4)
    resumed.restore(state)
    assert resumed.state() == state
    assert values(resumed, 15) == expected


def test_restoring_drops_what_was_decoded_ahead():
    stream = Stream(Sequential(100), load, ahead=5)
    state = stream.state()
    assert values(stream, 10) == list(range(10))
    stream.restore(state)
    assert values(stream, 3) == [0, 1, 2]


def test_an_error_comes_with_its_item_and_the_stream_goes_on():
    def faulty(i):
        if i == 3:
            raise ValueError("item 3")
        return load(i)

    stream = Stream(Sequential(6), faulty)
    assert values(stream, 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        stream.peek_shapes()
    assert stream.state()["taken"] == 3
    with pytest.raises(ValueError, match="item 3"):
        stream.next()
    assert values(stream, 2) == [4, 5]


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("netspec-data") and t.is_alive()]


def wait_for_none(before):
    for _ in range(500):
        gc.collect()
        if not set(ours()) - before:
            return True
        time.sleep(0.01)
    return False


def test_threads_end_when_closed_or_forgotten():
    before = set(ours())
    stream = Stream(Sequential(5), load)
    stream.next()
    assert set(ours()) - before
    stream.close()
    stream.close()
    assert wait_for_none(before)
    stream = Stream(Sequential(5), load)
    stream.next()
    del stream
    assert wait_for_none(before)


def test_an_open_stream_does_not_keep_the_interpreter():
    program = (
        "import numpy as np\n"
        "from netspec.data.order import Sequential\n"
        "from netspec.data.stream import Stream\n"
        "stream = Stream(Sequential(5), lambda i: [np.zeros(3)], ahead=8)\n"
        "stream.next()\n"
        "print('end')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "end\n" and done.stderr == ""


def test_settings_below_one_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Stream(Sequential(5), load, ahead=0)
