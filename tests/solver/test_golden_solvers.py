"""Training runs of Caffe's, replayed: weights, losses, rates, histories, files, displayed lines, restored runs."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from golden_data import arrays, golden, golden_json

from netspec.solver import Solver
from netspec.weights import solverstate

HERE = Path(os.environ.get("NETSPEC_GOLDEN") or Path(__file__).parents[1] / "golden") / "solvers"
CASES = sorted(p.parent.name for p in HERE.glob("*/case.json"))
NUMBER = r"([-+\w.]+)"


class Case:
    """One run, its files copied into the current folder."""

    def __init__(self, name: str) -> None:
        folder = golden(f"solvers/{name}")
        self.meta, self.z = golden_json(f"solvers/{name}/case.json"), arrays(folder / "run.npz")
        for file in folder.iterdir():
            if file.name not in ("run.npz", "case.json"):
                shutil.copy(file, ".")
        for source, start in (("train", "batch."), ("test", "test.")) if self.meta["feed"] == "hdf5" else ():
            with h5py.File(f"{source}.h5", "w") as h5:
                for key, value in self.z.items():
                    if key.startswith(start):
                        h5[key[len(start) :]] = value.reshape(-1, *value.shape[2:]).astype("f4")
            Path(f"{source}.txt").write_text(f"{source}.h5\n")

    def solver(self, **given: Any) -> Solver:
        self.core = Solver("solver.prototxt", feed=self.feed if self.meta["feed"] == "input" else None, **given)
        with torch.no_grad():
            for key in self.z:
                if key.startswith("init."):
                    self.param(key[5:]).copy_(torch.as_tensor(self.z[key].astype("f4")))
        return self.core

    def param(self, name: str) -> torch.Tensor:
        layer, index = name.rsplit(".", 1)
        step = next(s for s in self.core.net.steps if s.spec.name == layer)
        return step.params()[int(index)].detach()

    def feed(self) -> dict[str, torch.Tensor]:
        k, out = self.core.iter, {}
        for key, value in self.z.items():
            if key.startswith("batch."):
                blob, _, alone = key[6:].partition("#")
                count = sum(n.startswith(f"batch.{blob}#") for n in self.z)
                if not alone:
                    out[blob] = value[k % len(value)]
                elif int(alone) == k % count:
                    out[blob] = value
        return {blob: torch.as_tensor(np.asarray(value, "f4")) for blob, value in out.items()}

    def check_params(self, iteration: int, start: str = "") -> None:
        for key, want in self.z.items():
            if key.startswith(f"{start}param@{iteration}."):
                name = key.split(".", 2 if start else 1)[-1]
                change = np.abs(want.astype("f8") - self.z[f"init.{name}"]).max()
                tolerance = self.meta["tol_param"] * change + 1e-6 * np.abs(want).max()
                np.testing.assert_allclose(self.param(name), want, 0, tolerance, err_msg=f"{name} at {iteration}")
        for name in self.meta.get("unchanged", []):
            np.testing.assert_array_equal(self.param(name), self.z[f"init.{name}"])

    def run(self, start: int, replayed: bool = True, snapshot_at: int = 0) -> None:
        meta, losses, rates = self.meta, {b: [] for b in self.meta["loss_blobs"]}, []
        for k in range(start, meta["iters"]):
            rates.append(self.core.lr)
            self.core.step(1)
            for blob in losses:
                losses[blob].append(float(self.core.values[self.core.net.blob(blob)].sum()))
            if k + 1 in meta["record"] and replayed:
                self.check_params(k + 1)
            if k + 1 == snapshot_at:
                self.core.snapshot()
        np.testing.assert_allclose(rates, self.z["lr"][start:], 1e-5)
        for blob in losses if replayed else meta["loss_blobs"][:1]:
            want = self.z[f"loss_blob.{blob}"] if replayed else self.z["resumed.loss"]
            want = want[:, -1] if want.ndim == 2 else want
            want = want[start:] if replayed else want
            np.testing.assert_allclose(losses[blob], want, 0, meta["tol_loss"] * np.abs(want).max(), err_msg=blob)

    def check_state(self) -> None:
        meta, state = self.meta, solverstate.read(self.meta["state_file"])
        assert (state.iter, state.current_step) == (int(self.z["state.iter"]), int(self.z["state.current_step"]))
        assert state.learned_net == meta["learned_net"]
        assert Path(state.learned_net).is_file()
        for i, mine in enumerate(state.history):
            want = self.z.get(f"history.{i}")
            want = np.zeros(self.z[f"zero_history.{i}"], "f4") if want is None else want
            tolerance = meta["tol_history"] * np.abs(want).max(initial=0)
            np.testing.assert_allclose(mine, want, 0, tolerance, err_msg=f"history {i}")
        assert len(state.history) == sum("history." in key for key in self.z)


def having(key: str) -> list[str]:
    """The cases whose description has a key."""
    return [name for name in CASES if key in golden_json(f"solvers/{name}/case.json")]


@pytest.fixture
def case(request, tmp_path, monkeypatch) -> Case:
    monkeypatch.chdir(tmp_path)
    return Case(request.param)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_run(case, caplog):
    case.solver()
    at = case.meta.get("restore", {}).get("iter", 0)
    case.run(0, snapshot_at=at)
    case.core.snapshot()
    case.check_state()
    if "files_after" in case.meta:
        assert sorted(f.name for f in Path().glob("*_iter_*")) == case.meta["files_after"]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    if at and not case.meta["restore"].get("restarts_data"):
        case.solver().restore(case.meta["restore"]["file"])
        case.run(at)


@pytest.mark.parametrize("case", having("restore"), indirect=True)
def test_restore(case):
    at = case.meta["restore"]["iter"]
    core = case.solver()
    core.restore(case.meta["restore"]["file"])
    assert core.iter == at
    case.run(at, replayed="restarts_data" not in case.meta["restore"])
    if "restarts_data" in case.meta["restore"]:
        case.check_params(case.meta["iters"], "resumed.")
    else:
        core.snapshot()
        case.check_state()


def parsed(text: list[str]) -> tuple[list[dict], list[dict]]:
    """The displayed iterations and tests of log lines."""
    train, test, outputs = {}, [], []
    for line in text:
        if m := re.fullmatch(rf"Iteration (\d+)(?: \(.*\))?, loss = {NUMBER}", line):
            outputs = []
            train[int(m[1])] = {"iter": int(m[1]), "loss": float(m[2]), "outputs": outputs}
        elif m := re.fullmatch(rf"Iteration (\d+), lr = {NUMBER}", line):
            train[int(m[1])]["lr"] = float(m[2])
        elif m := re.fullmatch(r"Iteration (\d+), Testing net \(#(\d+)\)", line):
            outputs = []
            test.append({"iter": int(m[1]), "net": int(m[2]), "outputs": outputs})
        elif m := re.fullmatch(rf"Test loss: {NUMBER}", line):
            test[-1]["loss"] = float(m[1])
        elif m := re.fullmatch(
            rf"    \w+ net output #{len(outputs)}: (\S+) = {NUMBER}(?: \(\* (\S+) = (\S+) loss\))?", line
        ):
            outputs.append([m[1], *(float(x) for x in m.groups()[1:] if x is not None)])
    return list(train.values()), test


@pytest.mark.parametrize("case", having("log"), indirect=True)
def test_log(case, caplog):
    caplog.set_level(logging.INFO)
    case.solver().step(case.meta["iters"])
    train, test = parsed([r.getMessage() for r in caplog.records if r.name == "netspec.solver"])
    want = case.meta["log"]
    top = max(abs(e["loss"]) for e in want["train"])
    near = dict(rel=2e-4, abs=case.meta["tol_loss"] * top)
    for got, wanted in ((train, want["train"]), (test, want["test"])):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted, strict=True):
            assert g.keys() == w.keys()
            assert [x[0] for x in g["outputs"]] == [x[0] for x in w["outputs"]]
            for x, y in zip(g["outputs"], w["outputs"], strict=True):
                assert x[1:] == pytest.approx(y[1:], **near)
            for key in g.keys() - {"outputs"}:
                assert g[key] == pytest.approx(w[key], **(dict(rel=1e-5) if key == "lr" else near))
