"""CUDA graphs: which passes are recorded, and that replays give what passes give (on a GPU, where there is one)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import netspec
from netspec import recording
from netspec.ir.graph import Blob
from netspec.recording import Recorder, recordable

PROTOTXT = Path(__file__).parent.parent / "prototxt"
SLIM = """
input: "data" input_shape { dim: 1 dim: 3 dim: 40 dim: 44 }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 20 weight_filler { type: "xavier" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
"""
TOP = Blob("top", 0)


class Imitation:
    """A recording that repeats the pass it was made of."""

    off = 0.0

    def __init__(self, work, inputs, pool, held):
        self.work = work

    def __call__(self, inputs):
        return {blob: value + self.off for blob, value in self.work(inputs).items()}


@pytest.fixture
def imitated(monkeypatch):
    monkeypatch.setattr(recording, "Recorded", Imitation)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")


def passes(recorder: Recorder, size: int, times: int) -> list[int]:
    """How many recordings there are after each pass."""
    counts = []
    for _ in range(times):
        x = torch.randn(size)
        values = recorder.run("asked", lambda inputs: {TOP: inputs[0] * 2}, [x])
        assert torch.equal(values[TOP], x * 2)
        counts.append(len(recorder.kept))
    return counts


def test_a_size_is_recorded_when_it_comes_the_third_time(imitated):
    recorder = Recorder()
    assert passes(recorder, 3, 4) == [0, 0, 1, 1]
    assert passes(recorder, 4, 3) == [1, 1, 2]


def test_the_passes_used_last_are_kept(imitated):
    recorder = Recorder()
    for size in range(1, recording.LIMIT + 3):
        passes(recorder, size, 3)
        passes(recorder, 1, 3)
    sizes = [shapes[0][0][0] for _, shapes in recorder.kept]
    assert len(sizes) == recording.LIMIT and 1 in sizes and 2 not in sizes


def test_a_recording_that_gives_something_else_is_not_used(imitated, monkeypatch):
    monkeypatch.setattr(Imitation, "off", 0.1)
    recorder = Recorder()
    assert passes(recorder, 3, 5) == [0] * 5 and not recorder.works


def test_a_pass_that_cannot_be_recorded_runs_as_it_is(monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recording, "Recorded", refuse)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    assert passes(Recorder(), 3, 5) == [0] * 5


@pytest.mark.parametrize("more", ["", 'layer { name: "s" type: "Silence" bottom: "c2" }'])
def test_nets_whose_passes_are_alike_are_recordable(more, tmp_path):
    (tmp_path / "net.prototxt").write_text(SLIM + more)
    assert recordable(netspec.load(tmp_path / "net.prototxt").bound)


def test_a_net_with_memory_is_not_recordable(tmp_path):
    (tmp_path / "net.prototxt").write_text("""
        input: "x" input_shape { dim: 2 dim: 1 dim: 3 } input: "cont" input_shape { dim: 2 dim: 1 }
        layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
          recurrent_param { num_output: 2 weight_filler { type: "xavier" } } }""")
    assert not recordable(netspec.load(tmp_path / "net.prototxt").bound)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_replays_on_a_gpu_follow_the_inputs(tmp_path):
    (tmp_path / "net.prototxt").write_text(SLIM)
    net = netspec.load(tmp_path / "net.prototxt").cuda()
    plain = netspec.load(tmp_path / "net.prototxt").cuda()
    plain.load_state_dict(net.state_dict())
    netspec.freeze(net)
    for size in [(40, 44), (41, 60), (40, 44)] * 4:
        x = torch.randn(1, 3, *size, device="cuda")
        with torch.inference_mode():
            torch.testing.assert_close(net(data=x)["c2"], plain(data=x)["c2"], rtol=1e-2, atol=1e-2)
    assert net.recorder and len(net.recorder.kept) == 2
