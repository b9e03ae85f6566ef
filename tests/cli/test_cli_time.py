"""netspec time: a line per layer, nets with and without a loss, without their data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netspec.cli import main

NETS = Path(__file__).parents[2] / "prototxt"


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["time", *arguments, "--iterations", "1"]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_net_that_trains_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    net = str(NETS / "lenet/train_test.prototxt")
    out = lines(capsys, net, "--shape", "data=2x1x28x28", "--shape", "label=2")
    assert [line.split()[0] for line in out[1:9]] == ["conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "loss"]
    number = r"[0-9.]+"
    assert re.fullmatch(rf"conv1 +Convolution +{number} +{number} +576.00 k +{number}", out[1])
    assert re.match(rf"net: forward {number} ms, backward {number} ms, 4.59 M MACs, {number} GMAC/s forward", out[-1])


def test_a_deploy_net_has_no_backward(capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, str(NETS / "lenet/deploy.prototxt"), "--phase", "TEST", "--shape", "data=1x1x28x28")
    assert ", backward no loss, 2.29 M MACs" in out[-1]


def test_what_is_assumed_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text("""layer { name: "d" type: "Data" top: "data" data_param { source: "x" batch_size: 1 } }
    layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { global_pooling: true pool: AVE } }""")
    assert main(["time", str(net), "--iterations", "1"]) == 0
    assert "note: data assumed to be 1x3x500x500; --shape data=… says otherwise" in capsys.readouterr().err


def test_a_shape_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", str(NETS / "lenet/deploy.prototxt"), "--shape", "data=0x1x28x28"]) == 1
    assert "top 'data' of shape [0, 1, 28, 28] is empty" in capsys.readouterr().err


def test_a_pass_is_switched_off_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    net = str(NETS / "lenet/deploy.prototxt")
    assert lines(capsys, net, "--phase", "TEST", "--shape", "data=1x1x28x28", "--no-pass", "halo_elision")
    assert main(["time", net, "--no-pass", "halo"]) == 2
    assert "'halo' is not one of 'halo_elision', 'interpolation'" in capsys.readouterr().err
