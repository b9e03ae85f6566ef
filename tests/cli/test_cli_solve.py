"""solve, test, score, infer and plot as commands: files, lines, signals, exit statuses, several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from netspec.cli import main
from netspec.solver import logs

NET = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001 max_iter: {max_iter} display: 1
test_iter: 3 test_interval: 4 snapshot_prefix: "snap" random_seed: 3
"""
SCORE = """
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 21 kernel_size: 1 weight_filler { type: "xavier" } } }
"""
SEGMENT = f"""
layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{ module: "voc_layers"
  layer: "VOCSegDataLayer" param_str: "{{'split': 'val', 'mean': (0, 0, 0), 'voc_dir': 'none'}}" }} }}
{SCORE}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 }} }}
"""
DEPLOY = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 9 }} }} }}
{SCORE}
"""


def write(folder: Path, max_iter: int = 8) -> str:
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER.format(max_iter=max_iter))
    return str(folder / "solver.prototxt")


def trained(folder: Path) -> Path:
    """Weights of the tiny net."""
    assert main(["solve", write(folder, 2), "--out", str(folder / "trained")]) == 0
    return folder / "trained" / "snap_iter_2.caffemodel"


def child(folder: Path, *arguments: str, processes: int = 0) -> subprocess.Popen:
    """The command in processes of their own."""
    start = [sys.executable, "-m"]
    start += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes else []
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with open(folder / "err.txt", "w") as err, open(folder / "out.txt", "w") as out:
        return subprocess.Popen([*start, "netspec", *arguments], stderr=err, stdout=out, env=env)


def wait_for(folder: Path, words: str) -> None:
    """Until standard error has the words."""
    for _ in range(1200):
        if words in (folder / "err.txt").read_text():
            return
        time.sleep(0.05)
    raise AssertionError((folder / "err.txt").read_text())


def test_a_run_and_what_it_writes(tmp_path, capfd):
    assert main(["solve", write(tmp_path), "--out", str(tmp_path / "out"), "--keep", "1"]) == 0
    out, err = capfd.readouterr()
    assert f"log and snapshots: {tmp_path / 'out'}" in out
    names = sorted(f.name for f in (tmp_path / "out").iterdir())
    assert names == ["log.jsonl", "report.html", "snap_8.netspec", "snap_iter_8.caffemodel", "snap_iter_8.solverstate"]
    told, recorded = logs.parse(err.splitlines()), logs.read(tmp_path / "out")
    assert [r.iteration for r in told.train] == [*range(8), 8]
    for a, b in zip(told.train, recorded.train, strict=False):
        assert (a.iteration, a.loss, a.lr) == (b.iteration, pytest.approx(b.loss, 1e-5), pytest.approx(b.lr, 1e-5))
    assert [r.iteration for r in recorded.tests[0]] == [0, 4, 8]
    assert recorded.tests[0][0].outputs.keys() == {"accuracy", "loss"}
    assert recorded.tests[0][0].weights == {"loss": 1.0}


def test_without_out_all_goes_where_the_prefix_says(tmp_path, capfd):
    prefix = tmp_path / "new" / "snap"
    assert main(["solve", write(tmp_path), "--set", f"snapshot_prefix={prefix}", "--iterations", "2"]) == 0
    assert f"log and snapshots: {prefix.parent}" in capfd.readouterr().out
    names = sorted(f.name for f in prefix.parent.iterdir())
    assert names == ["log.jsonl", "report.html", "snap_2.netspec", "snap_iter_2.caffemodel", "snap_iter_2.solverstate"]
    assert [r.iteration for r in logs.read(prefix.parent).train] == [0, 1]
    assert main(["solve", write(tmp_path), "--set", f"snapshot_prefix={tmp_path / 'net.prototxt' / 'snap'}"]) == 1
    assert "error: snapshots cannot be written to folder" in capfd.readouterr().err


def test_resume_latest_and_overrides(tmp_path, capfd):
    path = write(tmp_path)
    out = ["--out", str(tmp_path / "out")]
    assert main(["solve", path, *out, "--iterations", "3"]) == 0
    assert main(["solve", path, *out, "--resume", "latest", "--set", "max_iter=5", "-q"]) == 0
    assert main(["solve", path, "--out", str(tmp_path / "whole"), "--iterations", "5"]) == 0
    weights = [(tmp_path / o / "snap_iter_5.caffemodel").read_bytes() for o in ("out", "whole")]
    assert weights[0] == weights[1]
    capfd.readouterr()
    assert main(["solve", path, "--out", str(tmp_path / "none"), "--resume", "latest"]) == 1
    assert "there is no complete snapshot" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none.prototxt"], 1, "none.prototxt"),
        (["{solver}", "--set", "bas_lr=1"], 1, "did you mean 'base_lr'"),
        (["{solver}", "--device", "toaster"], 1, "unknown device 'toaster'"),
        (["{solver}", "--keep", "0"], 2, "--keep"),
        (["{solver}", "--weights", "none.caffemodel"], 1, "none.caffemodel"),
        (["{solver}", "--tensorboard", "t"], 1, "pip install tensorboard"),
    ],
)
def test_what_is_at_fault(arguments, status, words, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["solve", *(a.format(solver=path) for a in arguments)]) == status
    assert words in capfd.readouterr().err


def test_tensorboard_gets_the_records(tmp_path):
    pytest.importorskip("tensorboard")
    assert main(["solve", write(tmp_path), "--tensorboard", str(tmp_path / "events"), "--out", str(tmp_path)]) == 0
    assert [f for f in (tmp_path / "events").iterdir() if f.stat().st_size > 500]


@pytest.mark.long
def test_signals_through_the_command(tmp_path):
    path = write(tmp_path, 10**6)
    out = tmp_path / "out"
    run = child(tmp_path, "solve", path, "--out", str(out))
    wait_for(tmp_path, "Iteration 3,")
    run.send_signal(signal.SIGHUP)
    wait_for(tmp_path, "Snapshotting solver state")
    for _ in range(100):
        if list(out.glob("snap*.solverstate")):
            break
        time.sleep(0.05)
    first = max(int(f.stem.split("_")[-1]) for f in out.glob("snap*.solverstate"))
    for sent in (signal.SIGINT, signal.SIGTERM):
        run.send_signal(sent)
        assert run.wait(60) == 130
        assert "Optimization stopped early." in (tmp_path / "err.txt").read_text()
        assert "Traceback" not in (tmp_path / "err.txt").read_text()
        last = max(int(f.stem.split("_")[-1]) for f in out.glob("snap*.solverstate"))
        assert last > first
        first = last
        run = child(tmp_path, "solve", path, "--out", str(out), "--resume", "latest")
        wait_for(tmp_path, f"Iteration {last},") if last % 4 else wait_for(tmp_path, f"Iteration {last} (")
        wait_for(tmp_path, f"Iteration {last + 3}")
    run.kill()
    run.wait()


def test_test_gives_caffes_lines(tmp_path, capfd):
    model = trained(tmp_path)
    capfd.readouterr()
    json_file = tmp_path / "means.json"
    arguments = ["test", str(tmp_path / "net.prototxt"), "--weights", str(model), "--iterations", "3"]
    assert main([*arguments, "--json", str(json_file)]) == 0
    out, err = capfd.readouterr()
    lines = [line.split("] ", 1)[1] for line in err.splitlines() if "caffe.cpp" in line]
    assert out == ""
    assert lines[0] == "Running for 3 iterations."
    assert [x.split(" = ")[0] for x in lines[1:7]] == [
        f"Batch {i}, {b}" for i in range(3) for b in ("accuracy", "loss")
    ]
    means = json.loads(json_file.read_text())
    losses = [float(x.split(" = ")[1]) for x in lines[2:7:2]]
    assert means["outputs"]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert lines[7] == f"Loss: {means['loss']:g}"
    assert lines[8:] == [
        f"accuracy = {means['outputs']['accuracy']:g}",
        f"loss = {means['outputs']['loss']:g} (* 1 = {means['loss']:g} loss)",
    ]
    assert main([*arguments, "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["Loss:", "accuracy", "loss"]
    assert err == ""
    assert main(arguments[:2]) == 1
    assert "give --weights FILE" in capfd.readouterr().err


def test_plot(tmp_path, capfd):
    pytest.importorskip("matplotlib")
    trained(tmp_path)
    capfd.readouterr()
    assert main(["plot", str(tmp_path / "trained"), "-o", str(tmp_path / "run.svg")]) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'run.svg'}\n"
    assert ">scores: accuracy<" in (tmp_path / "run.svg").read_text()
    assert main(["plot", str(tmp_path / "net.prototxt"), "-o", str(tmp_path / "run.svg")]) == 1


@pytest.mark.long
def test_two_processes_share_score_test_and_infer(tmp_path):
    """Scores and means equal those of one process; each picture is made once."""
    (tmp_path / "net.prototxt").write_text(SEGMENT)
    solver = 'net: "net.prototxt" base_lr: 1e-6 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "s" random_seed: 1'
    (tmp_path / "solver.prototxt").write_text(solver)
    assert main(["solve", str(tmp_path / "solver.prototxt"), "--sample", "--out", str(tmp_path)]) == 0
    net = [str(tmp_path / "net.prototxt"), "--weights", str(tmp_path / "s_iter_1.caffemodel")]
    results = []
    for processes in (0, 2):
        got = []
        for verb, more in (
            ("score", ["--iterations", "5", "--save", str(tmp_path / f"p{processes}")]),
            ("test", ["--iterations", "5"]),
        ):
            json_file = tmp_path / f"{verb}{processes}.json"
            run = child(tmp_path, verb, *net, "--sample", *more, "--json", str(json_file), processes=processes)
            assert run.wait(120) == 0, (tmp_path / "err.txt").read_text()
            out = (tmp_path / "out.txt").read_text()
            assert out.count("pixel acc.") == (verb == "score")
            got.append(json.loads(json_file.read_text()))
        results.append((got, sorted(f.name for f in (tmp_path / f"p{processes}").iterdir())))
    (one, files), (two, same_files) = results
    assert one[0] == two[0]
    assert one[1]["loss"] == pytest.approx(two[1]["loss"])
    assert files == same_files
    assert len(files) == 5
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    pictures = []
    for i in range(3):
        pictures.append(str(tmp_path / f"image{i}.png"))
        Image.new("RGB", (9, 8), (i, 0, 0)).save(pictures[-1])
    arguments = [str(tmp_path / "deploy.prototxt"), *net[1:], "--out", str(tmp_path / "infer"), *pictures]
    run = child(tmp_path, "infer", *arguments, processes=2)
    assert run.wait(120) == 0, (tmp_path / "err.txt").read_text()
    out = (tmp_path / "out.txt").read_text()
    assert all(out.count(f"{p}: ") == 1 for p in pictures)
    assert len(list((tmp_path / "infer").glob("image?.png"))) == 3


@pytest.mark.long
def test_two_processes_train_stop_and_lose_a_peer(tmp_path):
    path = write(tmp_path, 10**6)
    out = tmp_path / "out"
    run = child(tmp_path, "solve", path, "--out", str(out), processes=2)
    wait_for(tmp_path, "Iteration 3 ")
    run.send_signal(signal.SIGTERM)
    run.wait(60)
    text = (tmp_path / "err.txt").read_text()
    assert text.count("Solving tiny") == 1
    assert text.count("Optimization stopped early.") == 1
    (first,) = out.glob("snap*.solverstate")
    start = int(first.stem.split("_")[-1])
    run = child(tmp_path, "solve", path, "--out", str(out), "--resume", "latest", processes=2)
    wait_for(tmp_path, f"Iteration {start + 3} (")
    workers = subprocess.run(
        ["ps", "--ppid", str(run.pid), "-o", "pid="], capture_output=True, text=True
    ).stdout.split()
    assert len(workers) == 2
    os.kill(int(workers[1]), signal.SIGKILL)
    assert run.wait(60) == 1
    text = (tmp_path / "err.txt").read_text()
    assert "another process of this run has ended" in text
    assert "--resume latest" in text
    assert first.exists()
