"""What every registered layer type must pass; a type without a golden case or an example fails."""

from __future__ import annotations

import subprocess
import sys
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import FOLDER, Example, examples, run, with_batch

from netspec import schema
from netspec.errors import SpecError
from netspec.ir.emit import emit_text
from netspec.ir.graph import Graph
from netspec.ir.lower import lower
from netspec.layers import Context, catalogue
from netspec.net import Net, Step
from netspec.spec import text

REFUSED = {"MatRead": "MATLAB files are not supported", "MatWrite": "MATLAB files are not supported"}
"""Types that are known and never run."""
TYPES = [name for name in catalogue() if name not in REFUSED]

DATA_DECIDE = {
    "AnnotatedData": "boxes of a batch",
    "DetectionOutput": "boxes found",
    "Filter": "rows selected",
    "Python": "regions taken",
}
"""Types whose number of rows depends on values; the shape rule gives a number that may occur."""
BATCH_AXIS = {"LSTM": 1, "LSTMUnit": 1, "RNN": 1}
"""The axis of independent rows, where it is not 0."""
OWN_BATCH = {
    "BatchReindex": "the rows are those its second bottom names",
    "DetectionEvaluate": "one blob holds the boxes of all images",
    "Input": "checked with every other type",
    "Parameter": "its blob has no batch",
    "Reshape": "a written shape may hold the batch",
}
"""Types that another number of rows is not for."""
ROWS_DEPEND = {
    **{"BatchNorm": "statistics of the batch", "BN": "statistics of the batch", "MVN": "as BatchNorm"},
    **{"Dropout": "random", "SpatialDropout": "random", "SeLuDropout": "random", "DummyData": "random"},
    **{"Python": "random", "Reduction": "over the batch", "Tile": "along axis 0"},
}
"""Types of which one row's top depends on the other rows."""
NO_GRADIENT = {
    **dict.fromkeys(("Accuracy", "ArgMax", "SegAccuracy", "Threshold"), "steps"),
    **dict.fromkeys(("BoxAnnotatorOHEM", "DetectionEvaluate", "DetectionOutput", "EvalDetection"), "detections"),
    **dict.fromkeys(("PriorBox", "Python"), "boxes"),
    **dict.fromkeys(("HDF5Output", "Silence"), "no top"),
    "DenseCRF": "published without a backward",
}
"""Types that give no gradient to anything."""
OTHER_GRADIENT = {
    "ContrastiveLoss": "divides by the distance and 1e-4",
    "RegionLoss": "the value is the sum of the squared gradients",
}
"""Types whose gradient is deliberately not the derivative."""
PASS_NONE = {"MultiBoxLoss": (2,), "SmoothL1Loss": (2, 3), "SmoothL1LossOHEM": (2,)}
"""Bottoms that a gradient may be asked for and that give none: priors and weights."""
OTHER_GRADIENT_IN_PLACE = {
    "Power": "written in place Caffe's backward loses what comes in",
    "Clip": "written in place it passes every gradient, as in Caffe",
    "BNLL": "written in place its gradient is taken at the top, as in Caffe",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_type_has_an_example() -> None:
    missing = [name for name in TYPES if not examples(name)]
    assert not missing, f"no golden case and no tests/layers/examples/<type>.prototxt: {missing}"
    unknown = {path.stem for path in FOLDER.iterdir()} - set(TYPES)
    assert not unknown, f"examples of unknown types: {unknown}"


@pytest.mark.parametrize("name", REFUSED)
def test_a_type_that_is_refused_says_so(name: str) -> None:
    with pytest.raises(SpecError, match=REFUSED[name]):
        catalogue()[name](schema.new("LayerParameter", name="m", type=name), Context())


@pytest.mark.parametrize("name", TYPES)
def test_the_shape_rule_is_what_forward_gives(name: str, folder: Path) -> None:
    for example in examples(name):
        net = example.net(folder)
        for blob, value in run(net, example.inputs(net)).items():
            got, want = tuple(value.shape), net.blob_shapes[blob]
            if net.graph.writers()[blob].type in DATA_DECIDE:
                got, want = (len(got),), (len(want),)
            assert got == want, f"{example.name}: {blob}"


@pytest.mark.parametrize("name", TYPES)
def test_text_round_trip(name: str) -> None:
    for example in examples(name):
        graph = example.graph()
        again = lower(text.parse(emit_text(graph)), graph.phase, graph.state.level)
        assert essence(again) == essence(graph), example.name


def essence(graph: Graph) -> object:
    """All but the places in the file."""
    layers = [(spec.name, spec.type, spec.bottoms, spec.tops, spec.proto) for spec in graph.layers]
    return graph.name, layers, graph.state, graph.force_backward


@pytest.mark.parametrize("name", [name for name in TYPES if name not in OWN_BATCH])
def test_a_batch_of_one_and_of_several(name: str, folder: Path) -> None:
    example, axis = examples(name)[0], BATCH_AXIS.get(name, 0)
    many = example.net(folder, with_batch(example, 4, axis))
    inputs = example.inputs(many)
    all_rows = run(many, inputs)
    one = example.net(folder, with_batch(example, 1, axis))
    one.load_state_dict(many.state_dict())
    first = run(one, {b.name: first_rows(inputs[b.name], one.blob_shapes[b]) for b in one.graph.inputs})
    for step in example.steps(one):
        for top in step.spec.tops:
            assert first[top].isfinite().all() and all_rows[top].isfinite().all()
            if all_rows[top].shape[axis : axis + 1] == (4,) and name not in ROWS_DEPEND:
                torch.testing.assert_close(first[top], all_rows[top].narrow(axis, 0, 1), rtol=1e-4, atol=1e-5)


def first_rows(value: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return value[tuple(slice(n) for n in shape)]


@pytest.mark.parametrize("name", TYPES)
def test_an_empty_batch_is_refused(name: str, folder: Path) -> None:
    example = examples(name)[0]
    with pytest.raises(SpecError) as caught:
        example.net(folder, with_batch(example, 0))
    assert caught.value.loc is not None and caught.value.loc.line > 0
    assert "layer '" in caught.value.message


@pytest.mark.parametrize("name", TYPES)
def test_gradients_are_derivatives(name: str, folder: Path) -> None:
    checked = [check_gradient(example, step) for example, step in runs(name, folder)]
    assert any(checked) != (name in NO_GRADIENT or is_source(name))


def runs(name: str, folder: Path) -> list[tuple[Example, Step]]:
    """Every layer of the type, in the net of its example, with the values of its bottoms in `step.values`."""
    out = []
    for example in examples(name)[:6]:
        net = example.net(folder)
        values = run(net, example.inputs(net))
        for step in example.steps(net):
            step.values = [values[b].detach() for b in step.spec.bottoms]  # type: ignore[attr-defined]
            out.append((example, step))
    return out


def is_source(name: str) -> bool:
    return name == "Input" or catalogue()[name].is_data


def check_gradient(example: Example, step: Step) -> bool:
    """Compares gradients to all bottoms and parameters with differences, in float64; whether there were any."""
    layer, bottoms, count = step.layer, step.values, len(step.spec.bottoms)  # type: ignore[attr-defined]
    flows = [layer.gradient_to(i) and i not in PASS_NONE.get(example.type, ()) for i in range(count)]
    flows += [blob.learn for blob in layer.params([tuple(v.shape) for v in bottoms])]
    in_place = step.spec.tops and step.spec.bottoms and step.spec.tops[0].name == step.spec.bottoms[0].name
    if is_source(example.type) or not any(flows) or in_place:
        return False
    values = [off_the_kink(v.double(), g) for v, g in zip([*bottoms, *step.params()], flows, strict=True)]

    def tops(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)  # and a copy, since recurrent layers keep their last state
        made = copy(layer).forward([g.clone() for g in given[:count]], list(given[count:]))
        return tuple(top for top in made if top.requires_grad)

    if not tops(*values):
        return False
    if example.type not in OTHER_GRADIENT:
        assert torch.autograd.gradcheck(tops, values, fast_mode=True, atol=1e-4), example.name
    return True


def off_the_kink(value: torch.Tensor, flows: bool) -> torch.Tensor:
    """Golden values stand on ties and edges, where a function has no derivative: these lie a little above them."""
    value = value.detach()
    return (value + 0.001 + 0.01 * torch.rand_like(value)).requires_grad_() if flows else value


@pytest.mark.parametrize("name", TYPES)
def test_in_place_is_the_same(name: str, folder: Path) -> None:
    """The layer reads a sum and either makes a new blob or writes over it."""
    for example, step in runs(name, folder):
        if not step.spec.bottoms or len(step.spec.tops) != 1:
            continue
        shapes = [tuple(v.shape) for v in step.values]  # type: ignore[attr-defined]
        if step.layer.shapes(shapes)[0] == shapes[0] and not step.layer.aliases:
            compare_in_place(example, step)


def compare_in_place(example: Example, step: Step) -> None:
    nets = [Net(lower(text.parse(chain(step, top), "net.prototxt"), example.phase)) for top in ("y", "x0")]
    results = []
    for net in nets:
        net.load_state_dict(dict(zip(net.state_dict(), [p.detach() for p in step.params()], strict=True)))
        torch.manual_seed(0)
        inputs = {f"b{i}": v.clone() for i, v in enumerate(step.values)}  # type: ignore[attr-defined]
        inputs["b0"].requires_grad_()
        (top,) = (value for name, value in net(**inputs).items() if name in ("y", "x0"))
        if top.requires_grad:
            top.backward(torch.linspace(-1, 1, top.numel()).reshape(top.shape))
        results.append((top, inputs["b0"].grad, [p.grad for p in net.parameters()]))
    (top, grad, params), (top_in_place, grad_in_place, params_in_place) = results
    torch.testing.assert_close(top_in_place, top)
    torch.testing.assert_close(params_in_place, params)
    if example.type not in OTHER_GRADIENT_IN_PLACE:
        torch.testing.assert_close(grad_in_place, grad)


def chain(step: Step, top: str) -> str:
    """Inputs, an Eltwise layer after the first, and the layer."""
    net = schema.new("NetParameter", force_backward=True)
    bottoms = []
    for i, value in enumerate(step.values):  # type: ignore[attr-defined]
        layer = net.layer.add(name=f"b{i}", type="Input", top=[f"b{i}"])
        layer.input_param.shape.add(dim=value.shape)
        bottoms.append(f"b{i}")
    net.layer.add(name="sum", type="Eltwise", bottom=["b0", "b0"], top=["x0"]).eltwise_param.coeff[:] = [0.75, 0.5]
    one: Any = net.layer.add()
    one.CopyFrom(step.spec.proto)
    one.bottom[:], one.top[:] = ["x0", *bottoms[1:]], [top]
    del one.propagate_down[:], one.loss_weight[:]
    return text.dump(net)


def test_no_type_imports_torch() -> None:
    code = "import sys; from netspec.layers import catalogue; catalogue(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
