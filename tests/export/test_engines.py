"""Other engines run the net's layers: the same values at any size, and one clear line where they cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import netspec
from netspec import weights
from netspec.cli import main
from netspec.errors import SpecError
from netspec.export import engines
from netspec.export.engines import engine
from netspec.layers import Context
from netspec.net import Net
from netspec.passes.deploy import deploy

ROOT = Path(__file__).parents[2]
SLIM = ROOT / "tests/golden/nets/slim/voc-fcn8s/net.prototxt"
EXAMPLE = ROOT / "prototxt/examples/slim-fcn8s"


def slim() -> Net:
    """A slim FCN-8s without its loss, with weights that mean something."""
    net = Net(deploy(netspec.load_graph(SLIM, "TEST"), raw=True), Context(phase="TEST"))
    for name, p in net.named_parameters():
        if name.startswith("up"):
            p.data.fill_(0.1)
        else:
            torch.nn.init.normal_(p.data, std=(2 / max(1, p[0].numel())) ** 0.5 if p.ndim == 4 else 0.3)
    return net


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("onnx")
    pytest.importorskip(request.param)
    return request.param


def test_values_at_any_size_and_batch(backend: str) -> None:
    net = slim()
    run = engine(net, backend)
    for shape in ((1, 3, 65, 51), (2, 3, 41, 80)):
        x = torch.randn(shape) * 60
        with torch.inference_mode():
            want, got = (n(data=x, blobs=["score", "pool3", "conv1_1"]) for n in (net, run))
        for name, value in want.items():
            assert (got[name] - value).abs().max() <= 1e-4 * value.abs().max(), name
    with pytest.raises(SpecError, match="conv1_1"):
        run(data=torch.zeros(1, 2, 60, 60))


def test_outputs_once_compiled_serve_what_is_asked_of_them(backend: str) -> None:
    run = engine(slim(), backend)
    run(data=torch.randn(1, 3, 60, 60))
    assert len(run.parts) == 1
    assert list(run(data=torch.randn(1, 3, 60, 60), blobs=["data"])) == ["data"]


def test_bf16_of_openvino() -> None:
    pytest.importorskip("openvino")
    net, x = slim(), torch.randn(1, 3, 65, 51) * 60
    with torch.inference_mode():
        want, got = (n(data=x)["score"] for n in (net, engine(net, "openvino", "bf16")))
    assert got.dtype == torch.float32
    assert (got - want).abs().max() <= 0.1 * want.abs().max()


def test_a_net_with_data_and_losses(backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = netspec.load(EXAMPLE / "val.prototxt", context=Context(phase="TEST", sample=True))
    weights.write(tmp_path / "w.caffemodel", net.to_model())
    found = {}
    for name in ("torch", backend):
        for verb in ("score", "test"):
            given = [str(EXAMPLE / "val.prototxt"), "--weights", str(tmp_path / "w.caffemodel"), "--sample"]
            json_file = tmp_path / f"{verb}.json"
            assert main([verb, *given, "--iterations", "2", "--backend", name, "--json", str(json_file)]) == 0
            found[name, verb] = json.loads(json_file.read_text())
    assert found["torch", "score"] == found[backend, "score"]
    np.testing.assert_allclose(found["torch", "test"]["loss"], found[backend, "test"]["loss"], rtol=1e-4)


def test_time(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", str(SLIM), "--phase", "TEST", "--backend", backend, "--iterations", "1"]) == 0
    assert f" ms on {backend}, peak memory" in capsys.readouterr().out
    assert main(["time", str(SLIM), "--backend", backend]) == 1
    assert "TEST phase" in capsys.readouterr().err


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SpecError, match=r"needs the package openvino: pip install 'netspec\[openvino\]'"):
        engine(slim(), "openvino")


def test_an_unknown_back_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match="unknown back end 'openvin', did you mean 'openvino'"):
        engine(slim(), "openvin")
    assert main(["infer", str(SLIM), "p.png", "--weights", "w.caffemodel", "--backend", "tensorrt"]) == 2
    assert "tensorrt" in capsys.readouterr().err


def test_what_an_engine_does_not_take() -> None:
    with pytest.raises(SpecError, match="onnxruntime has no precision 'bf16'"):
        engine(slim(), "onnxruntime", "bf16")
    with pytest.raises(SpecError, match="frozen"):
        engine(netspec.freeze(slim()), "onnxruntime")
    with pytest.raises(SpecError, match="TEST phase only"):
        engine(Net(netspec.load_graph(SLIM, "TRAIN")), "onnxruntime")


def test_layers_without_a_form(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.prototxt"
    path.write_text("""
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer { name: "odd" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: STOCHASTIC kernel_size: 2 } }
""")
    with pytest.raises(SpecError, match="layers that cannot be exported: 'odd'"):
        engine(netspec.load(path), "onnxruntime")


def test_other_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    kind = engines.Kind(lambda path, precision: lambda inputs: [np.zeros((1, 21, 90, 110), np.float32)], ("fp32",))
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", kind)
    with pytest.raises(SpecError, match=r"does not compute what the net does|has the shape"):
        engine(slim(), "onnxruntime")
