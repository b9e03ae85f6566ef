"""Golden layer cases of every type that can be exported: ONNX and PyTorch source give what Caffe gave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_data import arrays, golden, golden_json

import netspec
from netspec.errors import SpecError
from netspec.export import onnx_file
from netspec.export.forms import forms
from netspec.export.plan import Plan, make_plan
from netspec.export.standalone import make_net
from netspec.layers import Context
from netspec.net import Net

pytest.importorskip("onnxruntime")

# Types whose every use is a matter of what is declared, or that a net without training has no use for.
SOURCES = {"Input"}
HUGE = 1e30
CARRIED = ("ffb",)
"""Two passes, of which the second goes on from the state that the first left."""


def exportable(entry: dict[str, Any]) -> bool:
    """Whether a case runs forward once from given inputs through layers that have forms."""
    types = set(entry.get("types", ())) or types_of(entry["case"])
    return (
        types <= {*forms(), *SOURCES}
        and entry["schedule"] not in CARRIED
        and not (entry.get("files") or entry.get("quirk"))
    )


def types_of(case: str) -> set[str]:
    path = (
        Path(os.environ.get("NETSPEC_GOLDEN") or Path(__file__).parents[1] / "golden") / "layers" / f"{case}.prototxt"
    )
    try:
        return {spec.type for spec in netspec.load_graph(path).layers}
    except SpecError:
        return {"?"}


MANIFEST = [e for e in golden_json("layers/manifest.json") if exportable(e)]


def read(entry: dict[str, Any]) -> tuple[Plan, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The plan with the case's parameters, its inputs and the outputs that Caffe gave."""
    kind, name = entry["case"].split("/")
    data = arrays(golden("layers") / kind / f"{name}.npz")
    path = golden("layers") / kind / f"{name}.prototxt"
    graph = netspec.load_graph(path, entry["phase"], entry.get("level", 0), entry.get("stages", ()))
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in.")}
    net = Net(graph, Context(phase=entry["phase"]), {k: v.shape for k, v in inputs.items()})
    for key, value in data.items():
        if key.startswith("param."):
            layer, index = key[6:].rsplit(".", 1)
            step = next(s for s in net.steps if s.spec.name == layer)
            step.params()[int(index)].data.copy_(torch.from_numpy(value))
    plan = make_plan(net)
    wanted = {n: data[f"out.{b.name}"] for n, b in plan.results.items() if f"out.{b.name}" in data}
    return plan, {b.name: inputs[b.name] for b in plan.inputs}, wanted


def assert_close(key: str, got: np.ndarray, want: np.ndarray, entry: dict[str, Any]) -> None:
    assert got.shape == want.shape, key
    tame = np.abs(want) < HUGE
    scale = max(1.0, float(np.abs(want[tame]).max(initial=0)))
    np.testing.assert_allclose(got[tame], want[tame], rtol=max(1e-4, entry["rtol"]), atol=1e-5 * scale, err_msg=key)


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda e: e["case"])
def test_golden_case(entry: dict[str, Any], tmp_path: Path) -> None:
    try:
        plan, inputs, wanted = read(entry)
        onnx_file.write(plan, tmp_path / "net.onnx")
        module = make_net(plan)
    except SpecError as e:
        pytest.skip(e.message)
    got = onnx_file.run(tmp_path / "net.onnx", [inputs])[0]
    with torch.no_grad():
        values = module(*(torch.from_numpy(v) for v in inputs.values()))
    named = values if isinstance(values, dict) else dict.fromkeys(plan.results, values)
    for name, want in wanted.items():
        assert_close(f"{name} in ONNX", got[name], want, entry)
        assert_close(f"{name} in PyTorch", named[name].numpy(), want, entry)
