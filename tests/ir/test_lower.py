"""lower: rules of phase, level and stage, names to values, and errors with their places."""

from __future__ import annotations

import re

import pytest

from netspec.errors import SpecError
from netspec.ir.graph import Blob
from netspec.ir.lower import lower
from netspec.spec.text import parse

DATA = 'layer { name: "data" type: "Input" top: "data" }\n'


X = 'layer { name: "x" type: "TanH" bottom: "data" top: "x" }\n'


@pytest.mark.parametrize(
    ("rules", "phase", "level", "stages", "kept"),
    [
        ("", "TRAIN", 0, (), True),
        ("include { phase: TEST }", "TRAIN", 0, (), False),
        ("include { phase: TEST } include { phase: TRAIN }", "TRAIN", 0, (), True),
        ("exclude { phase: TRAIN }", "TRAIN", 0, (), False),
        ("exclude { phase: TEST }", "TRAIN", 0, (), True),
        ("include { min_level: 1 }", "TRAIN", 0, (), False),
        ("include { min_level: 1 max_level: 2 }", "TRAIN", 2, (), True),
        ("include { max_level: 2 }", "TRAIN", 3, (), False),
        ("include { stage: 'a' }", "TRAIN", 0, ("a", "b"), True),
        ("include { stage: 'a' stage: 'c' }", "TRAIN", 0, ("a", "b"), False),
        ("include { not_stage: 'b' }", "TRAIN", 0, ("a", "b"), False),
        ("exclude { stage: 'a' not_stage: 'c' }", "TRAIN", 0, ("a", "b"), False),
        ("include { }", "TEST", 0, (), True),
    ],
)
def test_rules(rules: str, phase: str, level: int, stages: tuple[str, ...], kept: bool) -> None:
    text = DATA + f'layer {{ name: "x" type: "TanH" bottom: "data" top: "x" {rules} }}'
    assert (len(lower(parse(text), phase, level, stages).layers) == 2) is kept


def test_stages_of_the_file_and_the_caller() -> None:
    text = 'state { stage: "a" phase: TEST level: 7 }' + DATA
    state = lower(parse(text), "TRAIN", 1, ["b"]).state
    assert (state.phase, state.level, state.stages) == ("TRAIN", 1, ("a", "b"))


def test_a_bottom_reads_the_last_top_of_its_name() -> None:
    text = (
        DATA
        + """layer { name: "r" type: "ReLU" bottom: "data" top: "data" }
        layer { name: "s" type: "ReLU" bottom: "data" top: "data" }
        layer { name: "t" type: "ReLU" bottom: "data" top: "t" }"""
    )
    assert lower(parse(text)).layers[-1].bottoms == (Blob("data", 2),)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ('layer { name: "x" type: "TanH" bottom: "dat" top: "x" }',
         r"net:2:\d+: error: layer 'x' \(TanH\): no layer above makes its bottom 'dat', did you mean 'data'\?"),
        ('layer { name: "x" type: "Eltwise" bottom: "data" bottom: "y" top: "x" }'
         'layer { name: "y" type: "TanH" bottom: "x" top: "y" }',
         r"no layer above makes its bottom 'y', but layer 'y' below does"),
        ('layer { name: "x" type: "TanH" bottom: "x" top: "x" }',
         r"no layer above makes its bottom 'x', but it does itself"),
        (X + 'layer { name: "y" type: "TanH" bottom: "data" top: "x" }',
         r"net:3:\d+: .*top 'x' is made by layer 'x' already"),
        (X + 'layer { name: "y" type: "ReLU" bottom: "data" top: "data" }',
         r"net:3:\d+: .*changes 'data' in place, but 'x' reads it too"),
        ('layer { name: "x" type: "TanH" bottom: "data" top: "x" propagate_down: true propagate_down: true }',
         r"propagate_down is given 2 times for 1 bottom$"),
        ('layer { name: "x" type: "TanH" bottom: "data" top: "x" include { } exclude { } }',
         r"include and exclude rules"),
    ],
)  # fmt: skip
def test_errors(layers: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        lower(parse(DATA + layers, "net"))
    assert re.search(message, str(error.value))


def test_unknown_phase() -> None:
    with pytest.raises(SpecError, match="phase 'VAL' is not TRAIN or TEST"):
        lower(parse(DATA), "VAL")
