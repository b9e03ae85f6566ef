"""The module in source: what it says, that it is formatted, and that it computes what the net does."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_nets import ODD_NAMES, build, conv, input, layer, randomized, relu, resnet

import netspec
from netspec.errors import SpecError
from netspec.export import export, program, verify
from netspec.export.picture import Picture
from netspec.export.plan import Plan, deployed, make_plan
from netspec.export.source import class_name, identifier, laid_out
from netspec.export.standalone import make_module, make_net
from netspec.layers import Context
from netspec.net import Net

ROOT = Path(__file__).parents[2]
SLIM = ROOT / "tests/golden/nets/slim/voc-fcn8s/net.prototxt"
GOOGLENET = ROOT / "prototxt/googlenet/deploy.prototxt"


def slim() -> Net:
    torch.manual_seed(0)
    shapes = {"data": (1, 3, 100, 100)}
    return randomized(Net(deployed(netspec.load_graph(SLIM, "TEST"), shapes), Context(phase="TEST")))


def googlenet() -> Plan:
    graph = netspec.load_graph(GOOGLENET, "TEST")
    for spec in graph.layers:
        p = spec.proto.convolution_param
        p.num_output = max(1, p.num_output // 8) if p.num_output else 0
        if not p.num_output:
            p.ClearField("num_output")
    return make_plan(randomized(Net(graph, Context(phase="TEST"), {"data": (1, 3, 224, 224)})))


def text_of(plan: Plan, picture: Picture | None = None) -> str:
    return make_module(plan, picture).text("net")


def formatted(text: str, folder: Path) -> None:
    """ruff's formatter and linter, with their defaults, find nothing to change."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("no ruff at hand")
    (folder / "net.py").write_text(text)
    for command in (["format", "--isolated", "--diff"], ["check", "--isolated"]):
        done = subprocess.run([ruff, *command, "net.py"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_fcn8s(tmp_path: Path) -> None:
    net = slim()
    rows = export(net, tmp_path / "fcn.py")
    assert len(rows) == 3 and all(row.agrees for row in rows)
    text = (tmp_path / "fcn.py").read_text()
    assert "self.conv1_1 = nn.Conv2d(3, 4, 3, padding=100)" in text
    assert "x = F.relu(self.conv1_1(data))" in text
    assert "self.upscore2 = nn.ConvTranspose2d(21, 21, 4, stride=2, bias=False)" in text
    assert "crop(x, data, 31, 31)" in text
    assert len(text.split("def forward")[1].split("\n\n")[0].splitlines()) < 60
    formatted(text, tmp_path)


def test_inception_modules_are_one_class(tmp_path: Path) -> None:
    text = text_of(googlenet())
    assert text.count("class ") == 2
    assert "class InceptionBlock(nn.Module):" in text
    assert len(re.findall(r"self\.inception_\d\w = InceptionBlock\(", text)) == 9
    assert "x = self.inception_4c(x)" in text
    formatted(text, tmp_path)


@pytest.mark.long
def test_residual_blocks_are_two_classes(tmp_path: Path) -> None:
    net = build(resnet(8, 64, 10))
    rows = export(net, tmp_path / "resnet.py")
    assert all(row.agrees for row in rows)
    text = (tmp_path / "resnet.py").read_text()
    assert text.count("class ") == 3
    assert len(re.findall(r" = ResBlock\(", text)) == 4 and len(re.findall(r" = ResBlock2\(", text)) == 12
    state = torch.load(tmp_path / "resnet.pt", weights_only=True)
    assert state["res3b.bn_branch2a.running_mean"].shape == (16,)
    formatted(text, tmp_path)


def test_several_outputs_and_inputs(tmp_path: Path) -> None:
    text = input("left-image", 1, 3, 9, 9) + input("right.image", 1, 3, 9, 9)
    for side, blob in (("left", "left-image"), ("right", "right.image")):
        text += conv(f"class/{side}", blob, 4, 3) + relu(f"class/{side}")
    text += layer("Eltwise", "sum", "class/left class/right") + layer("Split", "again", "sum", "first second")
    net = build(text)
    assert all(row.agrees for row in export(net, tmp_path / "two.py"))
    written = (tmp_path / "two.py").read_text()
    assert "def forward(self, left_image: Tensor, right_image: Tensor) -> dict[str, Tensor]:" in written
    assert "self.class_left = nn.Conv2d(3, 4, 3)" in written
    assert 'return {"first": sum_, "second": sum_}' in written
    formatted(written, tmp_path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_python_does_not_take(name: str, tmp_path: Path) -> None:
    text = input(name, 1, 2, 5, 5) + conv("1st", name, 2, 3) + conv("forward", "1st", 2, 1)
    net = build(text + conv("train", "forward", 2, 1))
    plan = make_plan(net)
    module = make_net(plan)
    for trial in verify.make_trials(net, plan):
        with torch.no_grad():
            got = module(*(torch.from_numpy(v) for v in trial.inputs.values()))
        np.testing.assert_allclose(got.numpy(), trial.outputs["train"], rtol=1e-5, atol=1e-6)
    formatted(text_of(plan), tmp_path)


EVIL = 'x"); raise SystemExit(3) #'


def test_names_write_no_code(tmp_path: Path) -> None:
    """What is written is run: a name from a file must stay a name."""
    text = input("data", 1, 2, 5, 5) + conv("evil", "data", 2, 3) + relu("evil", "last")
    text = 'name: "NAME"' + text.replace('top: "evil"', 'top: "NAME"').replace('bottom: "evil"', 'bottom: "NAME"')
    for name in (EVIL, '""" + 1/0 + """', "new\nline\\"):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        net = build(text.replace("NAME", escaped))
        assert [b.name for b in net.graph.outputs] == [name]
        source = text_of(make_plan(net))
        names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        assert not names & {"SystemExit", "x_raise"}
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Raise)]
        assert make_net(make_plan(net)) is not None


def test_pictures(tmp_path: Path) -> None:
    net = build(input("data", 1, 3, 12, 10) + conv("score", "data", 2, 3))
    picture = Picture(np.array([104.0, 117.0, 123.0], np.float32), 0.017)
    assert all(row.agrees for row in export(net, tmp_path / "net.py", picture=picture))
    text = (tmp_path / "net.py").read_text()
    assert "(data.permute(0, 3, 1, 2).flip(1).float() - self.mean) * 0.017" in text
    formatted(text, tmp_path)


@pytest.mark.long
def test_programs_keep_their_sizes_open(tmp_path: Path) -> None:
    export(slim(), tmp_path / "fcn.pt2")
    shape = (2, 3, 57, 91)
    got = program.run(tmp_path / "fcn.pt2", [{"data": np.zeros(shape, np.float32)}])
    assert got[0][""].shape == (2, 21, 57, 91)


def test_an_older_file_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text("mine")
    monkeypatch.setattr(verify, "TOLERANCE", -1.0)
    with pytest.raises(SpecError, match="does not compute what the net does: score"):
        export(build(input("data", 1, 3, 12, 10) + conv("score", "data", 2, 3)), tmp_path / "net.py")
    assert (tmp_path / "net.py").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["net.py"]


def test_identifiers() -> None:
    assert identifier("inception_3a/1x1", prefix="conv") == "inception_3a_1x1"
    assert identifier("1x1", prefix="conv") == "conv_1x1"
    assert identifier("class") == "class_" and identifier("sum") == "sum_"
    taken = {"a", "a_2"}
    assert identifier("a", taken.__contains__) == "a_3"
    assert [class_name(name) for name in ("f", "tensor", "none")] == ["NetF", "NetTensor", "NetNone"]
    assert class_name("voc-fcn8s") == "VocFcn8s" and class_name("") == "Net" and class_name("3d") == "Net3d"


def test_lines_are_broken_where_the_formatter_breaks_them(tmp_path: Path) -> None:
    long = "self.a_layer_with_a_name = nn.Conv2d(123, 456, (3, 5), stride=2, padding=(1, 2)"
    texts = [
        "x = short(1)",
        long + ")",
        long + ", dilation=2, groups=3)",
        long + ", dilation=2, groups=3, bias=False, and_more=(1, 2, 3), and_still_more='text, with commas')",
        "value = " + " + ".join(f"some_value_{i}" for i in range(9)),
        "return " + " * ".join(f"some_value_{i}" for i in range(6)),
        "x = torch.cat([" + ", ".join(f"branch_{i}" for i in range(12)) + "], 1)",
    ]
    body = "\n".join(line for text in texts for line in laid_out(text.replace("'", '"'), 1))
    code = "import torch\nfrom torch import nn\n\n\ndef f(self, short, some_value_0=0):\n" + body + "\n"
    (tmp_path / "net.py").write_text(code)
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("no ruff at hand")
    done = subprocess.run(
        [ruff, "format", "--isolated", "--diff", "net.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
