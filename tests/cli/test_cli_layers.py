"""netspec layers: every type, and one type's fields."""

from __future__ import annotations

import json

import pytest

from netspec.cli import main
from netspec.layers import catalogue


def test_all_types_have_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--json"]) == 0
    types = json.loads(capsys.readouterr().out)
    assert set(types) == set(catalogue()) and all(types.values())


def test_one_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "Convolution", "--json"]) == 0
    fields = {row["field"]: row for row in json.loads(capsys.readouterr().out)["fields"]}
    assert fields["bias_term"] == {"field": "bias_term", "type": "bool", "default": "true"}
    assert fields["engine"]["type"].startswith("DEFAULT | CAFFE | CUDNN") and fields["pad"]["type"] == "repeated uint32"


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "Pooling"]) == 0
    text = capsys.readouterr().out
    assert "pooling_param" in text and "Shapes:" in text and "MAX | AVE | STOCHASTIC" in text


def test_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "Convolutoin"]) == 1
    assert "did you mean 'Convolution'?" in capsys.readouterr().err
