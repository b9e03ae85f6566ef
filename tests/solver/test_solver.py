"""The loop: nets of a solver file, intervals, logs, scores, averages over iter_size."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solver_nets import NET, SEGMENT, everything, same, solver, write

from netspec.errors import SpecError
from netspec.ir.graph import State
from netspec.solver import Solver
from netspec.solver.log import GlogFormatter, log_as_glog_asks, logger
from netspec.spec import text


def segments(seed: int = 0):
    """An endless feed of one image whose label follows its first channel."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        data = torch.randn(1, 2, 6, 6, generator=draw)
        yield {"data": data, "label": (data[:, :1] > 0).float()}


def lines(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "netspec.solver"]


# -- iter_size

BATCH = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_param { LOSS } }
"""


@given(
    k=st.integers(1, 4),
    b=st.integers(1, 4),
    kind=st.sampled_from(["SGD", "Nesterov", "AdaGrad", "Adam"]),
    how=st.sampled_from(["BATCH_SIZE", "FULL", "VALID", "NONE"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_iter_size_k_of_batch_b_is_one_batch_of_kb(k, b, kind, how, seed):
    """Without ignored labels all ways of dividing by the batch agree; NONE sums, which iter_size divides by k."""
    draw = np.random.default_rng(seed)
    data = torch.tensor(draw.normal(size=(5, k * b, 3)), dtype=torch.float32)
    label = torch.tensor(draw.integers(0, 4, size=(5, k * b)), dtype=torch.float32)
    parts = iter(
        [{"data": data[i, j : j + b], "label": label[i, j : j + b]} for i in range(5) for j in range(0, k * b, b)]
    )
    whole = iter([{"data": data[i], "label": label[i]} for i in range(5)])
    net = BATCH.replace("LOSS", f"normalization: {how}")
    momentum = 0 if kind == "AdaGrad" else 0.9
    rate = 0.05 if how == "NONE" and kind == "SGD" else 0.01
    fields = {"type": f'"{kind}"', "momentum": momentum, "base_lr": rate, "weight_decay": 0, "delta": 1e-3}
    one = solver(net, feed=lambda: next(parts), iter_size=k, **fields)
    if how == "NONE":  # the documented factor: the sum over k b items weighs k times the mean of k sums over b
        net = net.replace("loss_param", f"loss_weight: {1 / k} loss_param")
    other = solver(net, feed=lambda: next(whole), **fields)
    one.step(5)
    other.step(5)
    for name, value in everything(one).items():
        np.testing.assert_allclose(value, everything(other)[name], rtol=2e-4, atol=1e-5, err_msg=name)


@given(st.sampled_from(["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]), st.integers(1, 3), st.booleans())
@settings(max_examples=12, deadline=None)
def test_lr_mult_0_never_moves(kind, iter_size, clip):
    momentum = 0 if kind in ("AdaGrad", "RMSProp") else 0.9
    s = solver(NET, type=f'"{kind}"', momentum=momentum, iter_size=iter_size, clip_gradients=0.1 if clip else -1)
    before = everything(s)
    s.step(4)
    after = everything(s)
    for name in ("frozen.weight", "frozen.bias"):
        np.testing.assert_array_equal(before[name], after[name])
    assert not np.array_equal(before["conv.weight"], after["conv.weight"])
    assert len(s.update.stored()) == 6 * s.update.rule.sets


# -- nets of a solver file


def test_nets_by_path_are_looked_for_beside_the_solver_then_here(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path = write(tmp_path / "a", BATCH.replace("LOSS", ""))
    monkeypatch.chdir(tmp_path / "b")
    assert Solver(path).net.blob_shapes
    (tmp_path / "a" / "net.prototxt").rename("net.prototxt")
    assert Solver(path).net.blob_shapes
    (tmp_path / "b" / "net.prototxt").unlink()
    with pytest.raises(SpecError, match="'net.prototxt' is missing .looked for") as error:
        Solver(path)
    assert str(error.value.loc).endswith("solver.prototxt:6:1")


def test_states_choose_layers_and_test_nets_share_weights(tmp_path):
    extra = 'layer { name: "NAME" type: "Silence" bottom: "score" include { stage: "STAGE" } }'
    net = NET + "".join(extra.replace("NAME", n).replace("STAGE", n) for n in ("one", "two"))
    path = write(
        tmp_path,
        net,
        test_iter=[1, 2],
        test_interval=5,
        train_state='{ stage: "one" }',
        test_state=['{ stage: "two" }', '{ level: 1 stage: "one" stage: "two" }'],
    )
    s = Solver(path)
    names = [{x.name for x in n.graph.layers} & {"one", "two"} for n in (s.net, *s.test_nets)]
    assert names == [{"one"}, {"two"}, {"one", "two"}]
    s.step(1)
    for net in s.test_nets:
        assert net.get_parameter("conv.weight") is s.net.get_parameter("conv.weight")
    assert s.test_nets[1].graph.state.level == 1


@pytest.mark.parametrize(
    ("given", "phase", "level", "stages"),
    [
        ("", "TRAIN", 2, ("net",)),
        ('train_state { level: 1 stage: "mine" }', "TRAIN", 1, ("net", "mine")),
        ("train_state { phase: TEST }", "TEST", 2, ("net",)),
    ],
)
def test_the_state_of_a_net_lies_under_the_solvers(given, phase, level, stages):
    net = 'state { level: 2 stage: "net" }' + BATCH.replace("LOSS", "")
    fields = f"net_param {{ {net} }} base_lr: 1 lr_policy: 'fixed' test_iter: 1 test_interval: 1 {given}"
    s = Solver(text.parse(fields, "<text>", "SolverParameter"))
    assert s.net.graph.state == State(phase, level, stages)
    assert s.test_nets[0].graph.state == State("TEST", 2, ("net",))


def test_train_net_param_with_a_test_net_of_its_own(tmp_path):
    (tmp_path / "test.prototxt").write_text(NET)
    s = solver(
        NET,
        test_net=f'"{tmp_path}/test.prototxt"',
        test_iter=[1, 1],
        test_interval=2,
        snapshot_prefix=f'"{tmp_path}/s"',
    )
    assert [n.graph.phase for n in s.test_nets] == ["TEST", "TEST"]
    s.step(3)


def test_weights_of_several_files_and_of_the_field(tmp_path):
    a, b = solver(NET, random_seed=1), solver(NET, random_seed=2)
    from netspec import weights

    for name, s, layer in (("a", a, "conv"), ("b", b, "score")):
        model = s.net.to_model()
        model.layers, model.net = [x for x in model.layers if x.name == layer], None
        weights.write(tmp_path / f"{name}.caffemodel", model)
    for how in ("field", "argument"):
        files = f"{tmp_path}/a.caffemodel,{tmp_path}/b.caffemodel"
        s = Solver(write(tmp_path, weights=f'"{files}"')) if how == "field" else Solver(write(tmp_path), weights=files)
        np.testing.assert_array_equal(everything(s)["conv.weight"], everything(a)["conv.weight"])
        np.testing.assert_array_equal(everything(s)["score.weight"], everything(b)["score.weight"])


def test_snapshots_are_named_after_the_solver_without_a_prefix(tmp_path):
    path = write(tmp_path, snapshot_prefix=None, max_iter=1)
    Solver(path).solve()
    assert (tmp_path / "solver_iter_1.solverstate").exists()
    (tmp_path / "folder").mkdir()
    s = Solver(path, overrides={"snapshot_prefix": str(tmp_path / "folder")})
    assert s.snapshots.prefix == str(tmp_path / "folder" / "solver")
    assert Solver(path, out=tmp_path / "out").snapshots.prefix == str(tmp_path / "out" / "solver")


# -- what is told


def test_log_lines_are_caffes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = write(
        tmp_path,
        max_iter=4,
        display=2,
        snapshot=4,
        test_iter=2,
        test_interval=4,
        test_compute_loss="true",
    )
    assert Solver(path).solve()
    number = r"[-+.\de]+"
    wanted = [
        "Solving ",
        "Learning Rate Policy: fixed",
        r"Iteration 0, Testing net \(#0\)",
        f"Test loss: {number}",
        rf"    Test net output #0: loss = {number} \(\* 1 = {number} loss\)",
        rf"Iteration 0 \({number} iter/s, {number}s/2 iters\), loss = {number}",
        rf"    Train net output #0: loss = {number} \(\* 1 = {number} loss\)",
        "Iteration 0, lr = 0.05",
        rf"Iteration 2 \({number} iter/s, {number}s/2 iters\), loss = {number}",
        rf"    Train net output #0: loss = {number} \(\* 1 = {number} loss\)",
        "Iteration 2, lr = 0.05",
        rf"Snapshotting to binary proto file {tmp_path}/snap_iter_4.caffemodel",
        rf"Snapshotting solver state to binary proto file {tmp_path}/snap_iter_4.solverstate",
        f"Iteration 4, loss = {number}",
        r"Iteration 4, Testing net \(#0\)",
        f"Test loss: {number}",
        rf"    Test net output #0: loss = {number} \(\* 1 = {number} loss\)",
        "Optimization Done.",
    ]
    got = lines(caplog)
    assert len(got) == len(wanted), got
    for line, pattern in zip(got, wanted, strict=True):
        assert re.fullmatch(pattern, line), line


def test_what_is_clipped_and_when_the_rate_steps_is_told(caplog):
    caplog.set_level(logging.INFO)
    feed = segments()
    fields = {"lr_policy": '"multistep"', "gamma": 0.5, "stepvalue": [1, 3], "clip_gradients": 1e-3}
    solver(feed=lambda: next(feed), **fields).step(4)
    steps = [line for line in lines(caplog) if "Step" in line]
    assert steps == ["MultiStep Status: Iteration 1, step = 1", "MultiStep Status: Iteration 3, step = 2"]
    clipped = [
        re.fullmatch(r"Gradient clipping: .* \(L2 norm (.*) > 0.001\) by scale factor (.*)", x) for x in lines(caplog)
    ]
    products = [float(m[1]) * float(m[2]) for m in clipped if m]
    assert products == pytest.approx([1e-3] * 4, rel=1e-4)


def test_glog_form_and_environment(capfd):
    record = logging.LogRecord("netspec.solver", logging.WARNING, "x.py", 3, "a %s", ("b",), None)
    record.created = 1_600_000_000.25
    assert re.fullmatch(r"W09\d\d \d\d:\d\d:\d\d\.250000 +\d+ x\.py:3\] a b", GlogFormatter().format(record))
    assert log_as_glog_asks({}) is None
    root = logging.getLogger("netspec")
    level = root.level
    handler = log_as_glog_asks({"GLOG_logtostderr": "1", "GLOG_minloglevel": "1"})
    try:
        assert handler is not None
        assert log_as_glog_asks({"GLOG_logtostderr": "1"}) is handler
        logger.info("quiet")
        logger.warning("loud")
        err = capfd.readouterr().err
        assert "loud" in err
        assert "quiet" not in err
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_log_jsonl_has_an_object_per_display_and_test(tmp_path):
    feed, test = segments(), segments(1)
    s = solver(
        feed=lambda: next(feed),
        test_feed=lambda n: next(test),
        out=tmp_path,
        display=2,
        average_loss=3,
        test_iter=4,
        test_interval=5,
        max_iter=10,
        base_lr=0.5,
        snapshot_prefix='"x/net"',
    )
    (tmp_path / "log.jsonl").write_text('{"iteration": 0, "cut')
    s.solve()
    text = (tmp_path / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in text[1:]]
    trained = [r for r in records if "smoothed_loss" in r]
    tested = [r for r in records if "test_net" in r]
    assert [r["iteration"] for r in trained] == [0, 2, 4, 6, 8]
    assert all({"loss", "lr", "seconds"} <= r.keys() for r in trained)
    assert [r["iteration"] for r in tested] == [0, 5, 10]
    assert all({"loss", "pixel_acc", "mean_acc", "mean_iu", "fw_iu"} <= r.keys() for r in tested)
    assert tested[-1]["pixel_acc"] > 0.9
    assert (tmp_path / "net_iter_10.solverstate").exists()


def test_smoothed_loss_starts_anew_in_every_step_call():
    feed = segments()
    s = solver(feed=lambda: next(feed), average_loss=3)
    losses = []
    for n in (1, 1, 5):
        s.step(n)
        losses.append(s.smoothed_loss)
    t_feed = segments()
    t = solver(feed=lambda: next(t_feed))
    each = []
    for _ in range(7):
        t.step(1)
        each.append(t.smoothed_loss)
    assert losses == pytest.approx([each[0], each[1], sum(each[4:]) / 3])


DEBUG = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "w" }
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "a" type: "Power" bottom: "ip" top: "a" power_param { scale: 2 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "ip" top: "loss" }
"""
FORWARD = """
    [Forward] Layer data, top blob data data: 1
    [Forward] Layer ip, top blob ip data: 1
    [Forward] Layer ip, param blob w data: 0.5
    [Forward] Layer ip, param blob 1 data: 0
    [Forward] Layer relu, top blob ip data: 1
    [Forward] Layer ip_relu_0_split, top blob ip_relu_0_split_0 data: 1
    [Forward] Layer ip_relu_0_split, top blob ip_relu_0_split_1 data: 1
    [Forward] Layer a, top blob a data: 2
    [Forward] Layer loss, top blob loss data: 1
"""
BACKWARD = """
    [Backward] Layer loss, bottom blob a diff: 0.5
    [Backward] Layer loss, bottom blob ip_relu_0_split_1 diff: 0.5
    [Backward] Layer a, bottom blob ip_relu_0_split_0 diff: 1
    [Backward] Layer ip_relu_0_split, bottom blob ip diff: 0.5
    [Backward] Layer relu, bottom blob ip diff: 0.5
    [Backward] Layer ip, param blob 0 diff: 1
    [Backward] Layer ip, param blob 1 diff: 1
    [Backward] All net params (data, diff): L1 norm = (2, 6); L2 norm = (1, 2.44949)
"""


def test_debug_info_tells_every_layer(caplog):
    """Training at displayed iterations, tests in every pass; nothing else changes."""
    caplog.set_level(logging.INFO)
    ones = {"data": torch.ones(2, 2)}
    tested = {"test_iter": 2, "test_interval": 1, "test_initialization": "false"}
    runs = [
        solver(DEBUG, feed=lambda: ones, test_feed=lambda n: ones, display=2, debug_info=debug, base_lr=0, **tested)
        for debug in ("true", "false")
    ]
    runs[0].step(2)
    got = [line for line in lines(caplog) if line.startswith("    [")]
    assert got == (FORWARD + BACKWARD + FORWARD * 2).replace("\n\n", "\n").strip("\n").split("\n")
    runs[1].step(2)
    same(everything(runs[0]), everything(runs[1]))


# -- scores


def test_score_every_scores_without_a_test(caplog):
    caplog.set_level(logging.INFO)
    feed, test = segments(), segments(1)
    s = solver(
        feed=lambda: next(feed),
        test_feed=lambda n: next(test),
        test_iter=2,
        test_interval=1000,
        test_initialization="false",
        score_every=3,
    )
    s.step(7)
    scored = [x for x in lines(caplog) if "mean_iu" in x]
    assert len(scored) == 2
    assert scored[0].startswith("    Test net (#0) loss: pixel_acc = ")
    with pytest.raises(SpecError, match="score_every needs a test net"):
        solver(feed=lambda: next(feed), score_every=3)


def test_two_losses_are_scored_by_their_names():
    from netspec.solver.scoring import Scorer, score

    second = (
        SEGMENT[SEGMENT.index('layer { name: "score"') :]
        .replace('"score"', '"geo"')
        .replace('"loss"', '"loss_geo"')
        .replace("num_output: 3", "num_output: 5")
    )
    s = solver(SEGMENT + second)
    feed = segments()
    scores = score(s.net, 3, lambda: next(feed))
    assert list(scores) == ["loss", "loss_geo"]
    assert [len(x["iu"]) for x in scores.values()] == [3, 5]
    assert Scorer.of(solver(BATCH.replace("LOSS", "")).net) is None


# -- precision and ways to misuse


def test_bf16_stays_near_fp32():
    runs = {}
    for precision in ("fp32", "bf16"):
        feed = segments()
        s = solver(feed=lambda feed=feed: next(feed), precision=precision, base_lr=0.1)
        s.step(10)
        assert all(p.dtype == torch.float32 for p in s.net.parameters())
        assert s.values[s.net.blob("loss")].dtype == torch.float32
        runs[precision] = everything(s)
    for name, value in runs["fp32"].items():
        np.testing.assert_allclose(runs["bf16"][name], value, atol=0.03)
    assert not np.array_equal(runs["fp32"]["score.weight"], runs["bf16"]["score.weight"])
    with pytest.raises(SpecError, match="known: fp32, bf16"):
        solver(precision="fp16")


def test_solve_needs_max_iter_or_iterations(tmp_path):
    s = Solver(write(tmp_path))
    with pytest.raises(SpecError, match="max_iter is missing"):
        s.solve()
    assert s.solve(iterations=2)
    assert s.iter == 2


def test_observe_sees_every_blob():
    seen = []
    s = solver(NET, observe=lambda values: seen.append({b.name for b in values}))
    s.step(2)
    assert len(seen) == 2
    assert {"data", "conv", "score", "loss"} <= seen[0]


def test_a_second_test_sees_the_weights_of_its_time():
    """What test nets keep between passes, as the surroundings of a large pad, is made anew when weights have moved."""
    net = SEGMENT.replace("dim: 6 dim: 6", "dim: 16 dim: 16").replace(
        'layer { name: "score"',
        """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8
  kernel_size: 3 pad: 100 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "mix" type: "Convolution" bottom: "conv" top: "mix" convolution_param { num_output: 8
  kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "crop" type: "Crop" bottom: "mix" bottom: "data" top: "near" crop_param { axis: 2 offset: 90 } }
layer { name: "score\"""",
        1,
    )
    net = net.replace('bottom: "data" top: "score"', 'bottom: "near" top: "score"')
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(1, 2, 16, 16, generator=draw)
    feed = {"data": data, "label": (data[:, :1] > 0).float()}
    given: dict = {"feed": lambda: feed, "test_feed": lambda n: feed, "base_lr": 0.5}
    s = solver(net, test_iter=1, test_interval=3, **given)
    assert s.test_nets[0].halos
    s.step(6)
    fresh = solver(net, test_iter=1, test_interval=3, test_initialization="false", **given)
    fresh.net.load_state_dict(s.net.state_dict())
    assert s.test()[0]["loss"] == pytest.approx(fresh.test()[0]["loss"], rel=1e-5)
