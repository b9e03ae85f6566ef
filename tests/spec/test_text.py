"""prototxt text: what occurs in the wild parses, what is malformed is told with its place, and text round-trips."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from netspec import schema
from netspec.errors import SpecError
from netspec.spec.text import dump, parse, read

NETS = sorted((Path(__file__).parents[2] / "prototxt").glob("*/*.prototxt"))
LAYER = 'layer {\n  name: "c" type: "Convolution"\n  convolution_param { num_output: 4 kernel_size: 3 }\n}\n'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('name: "a"', "a"),
        ("name: 'a'", "a"),
        ("name : 'a' # 'b'", "a"),
        ('name: "a" \'b\'\n"c"', "abc"),
        (r'name: "\x41\102\n\"\u00e9"', 'AB\n"é'),
        ("name: 'é';", "é"),
    ],
)
def test_strings(field: str, value: str) -> None:
    assert parse(field).message.name == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-1.5", -1.5), ("- 1.5", -1.5), (".5", 0.5), ("1.", 1.0), ("1e-4", 1e-4), ("1E+2", 100.0),
        ("1e-4f", 1e-4), ("2f", 2.0), ("2F", 2.0), ("0x10", 16.0), ("inf", math.inf), ("-inf", -math.inf),
        ("Infinity", math.inf), ("nan", math.nan),
    ],
)  # fmt: skip
def test_floats(text: str, value: float) -> None:
    got = parse(f"base_lr: {text}", message="SolverParameter").message.base_lr
    assert got == pytest.approx(value, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("-7", -7), ("0x1F", 31), ("010", 8), ("0", 0)])
def test_integers(text: str, value: int) -> None:
    assert parse(f"max_iter: {text}", message="SolverParameter").message.max_iter == value


@pytest.mark.parametrize("text", ["true", "True", "t", "1"])
def test_truth(text: str) -> None:
    assert parse(f"force_backward: {text}").message.force_backward


@pytest.mark.parametrize(
    "text",
    [
        LAYER,
        "\ufeff" + LAYER,
        LAYER.replace("\n", "\r\n"),
        LAYER.replace("{", ":{"),
        LAYER.replace("layer {", "layer <").replace("}\n}", "}\n>"),
        LAYER.replace("kernel_size: 3", "kernel_size: [3]"),
        LAYER.replace(" type", ", type").replace(" kernel_size", "; kernel_size"),
        LAYER.replace("layer {", "layer: [{").replace("}\n}", "}\n}]"),
        "# a comment\n" + LAYER.replace("{\n", '{ # "}"\n', 1) + "#",
        LAYER.replace("\n", "\t\f\v\n"),
    ],
)
def test_ways_of_writing_the_same(text: str) -> None:
    assert parse(text).message == parse(LAYER).message


def test_a_file_with_a_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"\xef\xbb\xbf" + LAYER.replace("\n", "\r\n").encode())
    document = read(tmp_path / "net")
    assert document.message == parse(LAYER).message
    layer = document.place.fields["layer"][0]
    assert (layer.loc.line, layer.of("convolution_param.kernel_size").line) == (1, 3)


def test_places() -> None:
    layer = parse(LAYER + LAYER).place.fields["layer"][1]
    assert [(p.line, p.col) for p in (layer.loc, layer.of("type"), layer.of("convolution_param.kernel_size"))] == [
        (5, 1), (6, 13), (7, 37),
    ]  # fmt: skip
    assert layer.of("convolution_param.pad") == layer.of("convolution_param")


BAD = [
    ("kernel_size", "kernal_size", "3:37",
     "ConvolutionParameter has no field 'kernal_size', did you mean 'kernel_size'"),
    ("layer", "layr", "1:1", "NetParameter has no field 'layr', did you mean 'layer'?"),
    ("kernel_size: 3", "engine: CUDN", "3:45", "field 'engine': Engine has no value CUDN, did you mean 'CUDNN'?"),
    ("name:", "phase: TESTS name:", "2:10", "field 'phase': Phase has no value TESTS, did you mean 'TEST'?"),
    ("name:", 'phase: "TEST" name:', "2:10", 'field \'phase\': Phase has no value "TEST", did you mean'),
    ("name:", "phase: -TEST name:", "2:10", "field 'phase': '-' before TEST, which has no sign"),
    ('"c"', '-"c"', "2:9", "field 'name': '-' before \"c\", which has no sign"),
    ('"c"', "c", "2:9", "field 'name': expected a quoted string, found 'c'"),
    ('"Convolution"', '"Convolution', "2:19", "string without its closing quote"),
    ('"c"', r'"\ud800"', "2:9", "field 'name': 0xd800 is no character's number"),
    ("4", '"4"', "3:35", "field 'num_output': expected an integer, found \"4\""),
    ("4", "4.5", "3:35", "field 'num_output': expected an integer, found 4.5"),
    ("4", "-4", "3:35", "field 'num_output': -4 is outside 0..4294967295"),
    ("4", "4294967296", "3:35", "field 'num_output': 4294967296 is outside 0..4294967295"),
    ("4", "4e", "3:35", "malformed number '4e'"),
    ("4", "@", "3:35", "unexpected character '@'"),
    (": 4", "", "3:34", "expected ':' after 'num_output'"),
    ("4", "", "3:36", "field 'num_output': expected an integer, found kernel_size"),
    ("4", "[4]", "3:35", "field 'num_output': expected a value, found '['"),
    ("num_output: 4", "bias_term: yes", "3:34", "field 'bias_term': expected true or false, found yes"),
    ("num_output: 4", "num_output: 4 num_output: 5", "3:37", "field 'num_output' is given twice (first at line 3)"),
    ("3 }", "[3, 3 }", "3:56", "expected ',' or ']' in the list of 'kernel_size'"),
    ("{ num", ": 4 num", "3:23", "expected '{' after 'convolution_param'"),
    ("\n}\n", "\n", "3:53", "missing '}': the message opened at line 1 is not closed"),
    ("\n}\n", "\n}\n}\n", "5:1", "expected a field name, found '}'"),
    (" }\n}\n", "\n}\nlayer { }\n", "5:1",
     "LayerParameter has no field 'layer'; is the message opened at line 1 not closed?"),
    ("layer {", "[a.b] {", "1:1", "expected a field name, found '['"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "message"), BAD)
def test_malformed(old: str, new: str, place: str, message: str) -> None:
    text = LAYER.replace(old, new, 1)
    with pytest.raises(SpecError) as error:
        parse(text, "net")
    first, line, caret = str(error.value).split("\n")
    assert first.startswith(f"net:{place}: error: {message}")
    row, col = map(int, place.split(":"))
    assert line == "  " + text.split("\n")[row - 1]
    assert caret == " " * (1 + col) + "^"


@pytest.mark.parametrize(("value", "problem"), [(b"a\0b", "zero bytes"), (None, "cannot read: No such file")])
def test_files_that_are_no_text(value: bytes | None, problem: str, tmp_path: Path) -> None:
    if value is not None:
        (tmp_path / "net").write_bytes(value)
    with pytest.raises(SpecError, match=f"net: error: .*{problem}"):
        read(tmp_path / "net")


@pytest.mark.parametrize("path", NETS[::7], ids=lambda p: f"{p.parent.name}/{p.name}")
def test_cut_anywhere_it_is_an_error_or_a_shorter_net(path: Path) -> None:
    text, rng = path.read_text(), random.Random(1)
    whole = parse(text).message
    for end in rng.sample(range(len(text)), 30):
        try:
            got = parse(text[:end], "net").message
        except SpecError as error:
            assert error.loc is not None and error.loc.line <= text[:end].count("\n") + 1
        else:
            assert list(got.layer) == list(whole.layer)[: len(got.layer)]


@pytest.mark.parametrize("path", NETS[::5], ids=lambda p: f"{p.parent.name}/{p.name}")
def test_read_as_protobufs_own_parser_reads_and_written_back(path: Path) -> None:
    text = path.read_text()
    message = parse(text).message
    assert message == text_format.Parse(text, schema.NetParameter())
    assert parse(dump(message)).message == message


@given(st.text(max_size=40), st.floats(width=32, allow_nan=False), st.integers(-(2**31), 2**31 - 1), st.booleans())
def test_written_values_read_back(name: str, number: float, whole: int, truth: bool) -> None:
    solver = schema.SolverParameter()
    try:
        solver.net = name
    except UnicodeEncodeError:
        return
    solver.base_lr, solver.max_iter, solver.debug_info = number, whole, truth
    assert parse(dump(solver), message="SolverParameter").message == solver


@given(
    st.lists(st.sampled_from([*"{}<>[]:;,-\"'#\\", "\n", " ", "layer", "name", "pad", "1", "1e", "0x", "true", "é"]))
)
def test_no_text_brings_anything_but_a_message_or_an_error(parts: list[str]) -> None:
    try:
        parse("".join(parts), "net")
    except SpecError as error:
        assert str(error).startswith("net:")
