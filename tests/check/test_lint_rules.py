"""Every rule with an example that it names and one that it does not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from netspec import weights
from netspec.check import check, explain, fix, rules
from netspec.data.database import write_database
from netspec.errors import SpecError
from netspec.weights import Model, StoredLayer

PROTOTXT = sorted((Path(__file__).parents[2] / "prototxt").rglob("*.prototxt"))
SOLVERS = sorted((Path(__file__).parents[2] / "solvers").rglob("*.prototxt"))

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
VOC = """layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "voc_layers"
    layer: "VOCSegDataLayer" param_str: "{'voc_dir': 'x', 'split': 'seg11valid'}" } }\n"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
MSRA = 'weight_filler { type: "msra" }'


def conv(name: str, bottom: str, settings: str = MSRA, **fields: object) -> str:
    extra = " ".join(f"{k}: {v}" for k, v in {"num_output": 3, "kernel_size": 1, **fields}.items())
    return layer(name, "Convolution", bottom, name, f"convolution_param {{ {extra} {settings} }}")


def layer(name: str, type: str, bottom: str, top: str = "", rest: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{type}" bottom: "{bottom}" top: "{top or name}" {rest} }}\n'


def fc(name: str, bottom: str, rest: str = "") -> str:
    return layer(name, "InnerProduct", bottom, name, f"inner_product_param {{ num_output: 3 {MSRA} }} {rest}")


def net(*layers: str) -> str:
    return INPUT + LABEL + "".join(layers)


def upscore(settings: str, lr: int = 0) -> str:
    return f"""layer {{ name: "up" type: "Deconvolution" bottom: "c" top: "up" param {{ lr_mult: {lr} }}
        convolution_param {{ num_output: 3 kernel_size: 4 stride: 2 bias_term: false {settings} }} }}\n"""


def cropped(offset: int) -> str:
    up = upscore('group: 3 weight_filler { type: "bilinear" }').replace('bottom: "c"', 'bottom: "p"')
    pool = layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 2 stride: 2 }")
    return (
        INPUT
        + pool
        + up
        + f"""layer {{ name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "crop"
        crop_param {{ offset: {offset} }} }}"""
    )


def voc(loss: str, classes: int = 21) -> str:
    return VOC + conv("score", "data", num_output=classes) + LOSS.replace('top: "loss"', f'top: "loss" {loss}')


IGNORE = "loss_param { ignore_label: 255 }"
RELU = layer("r", "ReLU", "c", "c")
BILINEAR = 'weight_filler { type: "bilinear" }'
BN = layer("b", "BatchNorm", "data")
W = 'param { name: "w" }'
EXAMPLES = {
    "NS000": (INPUT + layer("x", "TanH", "dat"), INPUT + layer("x", "TanH", "data")),
    "NS001": (
        net(conv("c", "data", ""), RELU, fc("score", "c"), LOSS),
        net(conv("c", "data"), RELU, fc("score", "c"), LOSS),
    ),
    "NS002": (
        net(conv("c", "data"), upscore('weight_filler { type: "gaussian" }'), fc("score", "up"), LOSS),
        net(conv("c", "data"), upscore(f"group: 3 {BILINEAR}"), fc("score", "up"), LOSS),
    ),
    "NS003": (
        net(conv("c", "data"), upscore(BILINEAR), fc("score", "up"), LOSS),
        net(conv("c", "data"), upscore(f"group: 3 {BILINEAR}"), fc("score", "up"), LOSS),
    ),
    "NS005": (voc(IGNORE, 20), voc(IGNORE, 21)),
    "NS006": (cropped(0), cropped(1)),
    "NS007": (voc(""), voc(IGNORE)),
    "NS008": (
        INPUT + layer("a", "TanH", "data") + layer("t", "TanH", "a") + layer("r", "ReLU", "a", "a"),
        INPUT + layer("a", "TanH", "data") + layer("r", "ReLU", "a", "a") + layer("t", "TanH", "a"),
    ),
    "NS009": (
        INPUT + BN.replace("}", "batch_norm_param { use_global_stats: false } }") + layer("s", "Scale", "b"),
        INPUT + BN + layer("s", "Scale", "b"),
    ),
    "NS010": (INPUT + BN + layer("r", "ReLU", "b", "b"), INPUT + BN + layer("s", "Scale", "b", "b")),
    "NS011": (
        net(fc("a", "data", W), fc("b", "data", W)),
        net(fc("a", "data", W + ' param { name: "b" }'), fc("b", "data", W + ' param { name: "b" }')),
    ),
    "NS012": (
        net(fc("score", "data"), LOSS, fc("left", "data")),
        net(fc("score", "data"), LOSS, fc("left", "data", "param { lr_mult: 0 } param { lr_mult: 0 }")),
    ),
    "NS013": (
        net(fc("score", "data"), LOSS, layer("t", "TanH", "data")),
        net(fc("score", "data"), LOSS, layer("t", "TanH", "data"), 'layer { name: "s" type: "Silence" bottom: "t" }'),
    ),
    "NS016": (
        INPUT + layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }"),
        INPUT + layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 3 stride: 2 }"),
    ),
    "NS017": (
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n' + layer("t", "TanH", "data"),
        INPUT + layer("t", "TanH", "data"),
    ),
}  # fmt: skip


POOL = layer("p", "Pooling", "c", "p", "pooling_param { kernel_size: 2 stride: 2 }")
SIFT = """layer { name: "d" type: "Python" top: "images" top: "semantic" top: "geometric" python_param {
    module: "siftflow_layers" layer: "SIFTFlowSegDataLayer" param_str: "{'siftflow_dir': 'x', 'split': 'test'}" } }\n"""
NYUD = """layer { name: "d" type: "Python" top: "c" top: "h" top: "gt" python_param { module: "nyud_layers"
    layer: "NYUDSegDataLayer" param_str: "{'nyud_dir': 'x', 'split': 'val', 'tops': ['color', 'hha', 'label']}" } }\n"""


def shared(names: str) -> str:
    """Two layers in a row; the second has params of these names."""
    settings = 'convolution_param { num_output: 3 kernel_size: 1 } param { name: "conv1_w" } param { name: "conv1_b" }'
    first = layer("conv1", "Convolution", "data", "conv1", settings)
    return net(first, layer("conv2", "Convolution", "conv1", "conv2", settings.replace("conv1", names)))


def segments(data: str, bottom: str, label: str, classes: int, loss: str = "loss_param { ignore_label: 255 }") -> str:
    text = data + conv("score", bottom, num_output=classes)
    return text + layer("loss", "SoftmaxWithLoss", f'score" bottom: "{label}', "loss", loss)


# The same rules on nets of other kinds: (code, a net that it names, one that it does not).
OTHERS = [
    ("NS001", net(conv("c", "data", ""), POOL, fc("score", "p"), LOSS),
     net(conv("c", "data"), POOL, fc("score", "p"), LOSS)),
    ("NS001",
     net(conv("c", "data", ""), layer("b", "BatchNorm", "c"), layer("s", "Scale", "b", "b"),
         layer("r", "ReLU", "b", "b"), fc("score", "b"), LOSS),
     net(conv("a", "data"), conv("c", "a", ""), layer("sum", "Eltwise", 'a" bottom: "c'), layer("r", "ReLU", "sum"),
         fc("score", "r"), LOSS)),
    ("NS002", net(conv("c", "data", ""), upscore("", lr=1), layer("score", "Flatten", "up"), LOSS),
     net(conv("c", "data", ""), upscore("", lr=0), layer("score", "Flatten", "up"), LOSS)),
    ("NS005", segments(SIFT, "images", "semantic", 34), segments(SIFT, "images", "semantic", 33)),
    ("NS005", segments(SIFT, "images", "geometric", 33), segments(SIFT, "images", "geometric", 3)),
    ("NS005", segments(NYUD, "h", "gt", 41), segments(NYUD, "h", "gt", 40)),
    ("NS005", segments(VOC.replace("'split'", "'classes': 4, 'split'"), "data", "label", 21),
     segments(VOC.replace("'split'", "'classes': 4, 'split'"), "data", "label", 4)),
    ("NS007", segments(NYUD, "c", "gt", 40, "loss_param { ignore_label: 0 }"), segments(NYUD, "c", "gt", 40)),
    ("NS009", INPUT + layer("d", "Dropout", "data", "data", "include { phase: TRAIN }"),
     INPUT + layer("d", "Dropout", "data", "data", "include { phase: TEST }")),
    ("NS009", INPUT + layer("b", "BN", "data", "b", "bn_param { bn_mode: LEARN }"),
     INPUT + layer("b", "BN", "data", "b", "bn_param { bn_mode: INFERENCE }")),
    ("NS011", shared("conv1"), shared("conv2")),
    ("NS016", INPUT + layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 1 stride: 3 }"),
     INPUT + layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 3 stride: 3 }")),
    ("NS017", 'layer { name: "d" type: "Data" top: "data" data_param { batch_size: 1 crop_size: 8 } }',
     'layer { name: "d" type: "Data" top: "data" data_param { batch_size: 1 } transform_param { crop_size: 8 } }'),
    ("NS017",
     'layer { name: "d" type: "WindowData" top: "d" top: "l" window_data_param { batch_size: 1 crop_size: 8 } }',
     'layer { name: "d" type: "WindowData" top: "d" top: "l" window_data_param { batch_size: 1 scale: 2 } '
     "transform_param { crop_size: 8 } }"),
    ("NS017", INPUT + 'layer { name: "s" type: "Slice" bottom: "data" top: "s" slice_param { slice_dim: 1 } }',
     INPUT + 'layer { name: "s" type: "Slice" bottom: "data" top: "s" slice_param { axis: 1 } }'),
]  # fmt: skip


def codes(tmp_path: Path, text: str, **options: object) -> list[str]:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return [p.code for p in check(str(path), **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("code", EXAMPLES)
def test_net_rules(code: str, tmp_path: Path) -> None:
    failing, passing = EXAMPLES[code]
    assert code in codes(tmp_path, failing)
    assert code not in codes(tmp_path, passing)


@pytest.mark.parametrize(("code", "failing", "passing"), OTHERS)
def test_rules_on_other_nets(code: str, failing: str, passing: str, tmp_path: Path) -> None:
    assert code in codes(tmp_path, failing)
    assert code not in codes(tmp_path, passing)


def test_phase_of_a_layer_in_a_deploy_net(tmp_path: Path) -> None:
    assert "NS009" in codes(tmp_path, INPUT + layer("d", "Dropout", "data", "data", "phase: TRAIN"))
    assert codes(tmp_path, INPUT + layer("d", "Dropout", "data", "data")) == []


def test_an_offset_beyond_the_picture(tmp_path: Path) -> None:
    """Wrong shapes, which were assumed, hide nothing: neither the reason nor what is wrong elsewhere."""
    up = upscore(f"group: 3 {BILINEAR}").replace('"c"', '"p"')
    crop = layer("score", "Crop", 'up" bottom: "data', "score", "crop_param { offset: 400 }")
    pool = layer("p", "Pooling", "data", "p", "pooling_param { kernel_size: 2 stride: 2 }")
    assert codes(tmp_path, VOC + pool + up + crop + LOSS) == ["NS006", "NS007"]


def test_learned_upsampling_from_zeros(tmp_path: Path) -> None:
    text = net(conv("c", "data"), upscore("", lr=1), fc("score", "up"), LOSS)
    assert codes(tmp_path, text) == ["NS002"]
    assert codes(tmp_path, text.replace("lr_mult: 1", "lr_mult: 0")) == []


@pytest.mark.parametrize(
    ("base_lr", "loss", "found"),
    [
        ("1e-3", "loss_param { ignore_label: 255 normalize: false }", True),
        ("1e-10", "loss_param { ignore_label: 255 normalize: false }", False),
        ("1e-4", "loss_weight: 4e-6 loss_param { ignore_label: 255 normalize: false }", False),
        ("1e-14", IGNORE, True),
        ("1e-3", IGNORE, False),
    ],
)
def test_rates(base_lr: str, loss: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "train.prototxt").write_text(voc(loss))
    solver = f'net: "train.prototxt" base_lr: {base_lr} lr_policy: "fixed"'
    assert codes(tmp_path, solver) == (["NS004"] if found else [])


@pytest.mark.parametrize(("test_iter", "found"), [(735, True), (736, False)])
def test_test_length(test_iter: int, found: bool, tmp_path: Path) -> None:
    (tmp_path / "val.prototxt").write_text(voc(IGNORE))
    solver = f'train_net: "val.prototxt" test_net: "val.prototxt" test_iter: {test_iter} test_interval: 9 base_lr: 1e-4'
    assert codes(tmp_path, solver) == (["NS014"] if found else [])


def test_length_of_a_list_of_images(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png 0\nb.png 1\nc.png 0\n")
    data = """layer { name: "data" type: "ImageData" top: "data" top: "label"
        image_data_param { source: "list.txt" batch_size: 2 new_height: 8 new_width: 8 } }\n"""
    (tmp_path / "val.prototxt").write_text(data + fc("score", "data") + LOSS)
    solver = 'net: "val.prototxt" test_iter: {} test_interval: 9 base_lr: 0.1'
    assert codes(tmp_path, solver.format(1)) == ["NS014"]
    assert codes(tmp_path, solver.format(2)) == []


def test_length_of_stored_data(tmp_path: Path) -> None:
    write_database(tmp_path / "db", [(b"%d" % n, b"x") for n in range(5)])
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["data"], file["label"] = np.zeros((5, 3, 8, 8)), np.zeros(5)
    (tmp_path / "list.txt").write_text(str(tmp_path / "rows.h5"))
    solver = 'net: "val.prototxt" test_iter: {} test_interval: 9 base_lr: 0.1'
    for type, settings in (
        ("Data", 'data_param { source: "db" batch_size: 2 backend: LMDB } transform_param { crop_size: 8 }'),
        ("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 2 }'),
    ):
        data = f'layer {{ name: "data" type: "{type}" top: "data" top: "label" {settings} }}\n'
        (tmp_path / "val.prototxt").write_text(data + fc("score", "data") + LOSS)
        assert codes(tmp_path, solver.format(2)) == ["NS014"]
        assert codes(tmp_path, solver.format(3)) == []


def test_a_net_inside_the_solver(tmp_path: Path) -> None:
    solver = f"net_param {{ {voc(IGNORE)} }} test_iter: {{}} test_interval: 9 base_lr: {{}}"
    assert codes(tmp_path, solver.replace("{}", "9", 1).replace("{}", "1e-14")) == ["NS014", "NS004"]
    assert codes(tmp_path, solver.replace("{}", "736", 1).replace("{}", "1e-3")) == []


def test_rates_of_other_losses_and_solvers(tmp_path: Path) -> None:
    """An unnormalised sum diverges, whatever the loss, unless the solver divides by the gradient's size."""
    edges = 'layer {{ name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "data" bottom: "data" top: "l" {} }}'
    big = INPUT.replace("dim: 8 dim: 8", "dim: 80 dim: 80") + conv("c", "data").replace('top: "c"', 'top: "data"')
    solver = 'net: "train.prototxt" base_lr: 1e-3 '
    (tmp_path / "train.prototxt").write_text(big + edges.format(""))
    assert codes(tmp_path, solver) == ["NS004"]
    assert codes(tmp_path, solver + 'type: "Adam"') == []
    (tmp_path / "train.prototxt").write_text(big + edges.format("loss_param { normalization: VALID }"))
    assert codes(tmp_path, solver) == []


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    blobs = [np.zeros((3, 192), np.float32), np.zeros(3, np.float32)]
    for name, model, found in (
        ("good", [StoredLayer("score", "InnerProduct", blobs)], []),
        ("other", [StoredLayer("fc9", "InnerProduct", blobs)], ["NS015", "NS015"]),
        ("shape", [StoredLayer("score", "InnerProduct", [blobs[1], blobs[1]])], ["NS015"]),
    ):
        file = str(tmp_path / f"{name}.caffemodel")
        weights.write(file, Model("n", model))
        assert codes(tmp_path, net(fc("score", "data"), LOSS), weights=file) == found


def test_zero_weights_that_the_file_sets(tmp_path: Path) -> None:
    text = net(conv("c", "data", ""), RELU, fc("score", "c"), LOSS)
    file = str(tmp_path / "w.npz")
    c = StoredLayer("c", "Convolution", [np.ones((3, 3, 1, 1), np.float32), np.zeros(3, np.float32)])
    score = StoredLayer("score", "InnerProduct", [np.ones((3, 192), np.float32), np.zeros(3, np.float32)])
    weights.write(file, Model("n", [c, score]))
    assert codes(tmp_path, text, weights=file) == []
    weights.write(file, Model("n", [score]))
    assert codes(tmp_path, text, weights=file) == ["NS015", "NS001"]


def test_old_solver(tmp_path: Path) -> None:
    assert codes(tmp_path, 'net: "x" base_lr: 0.1 solver_type: ADAM') == ["NS018"]
    assert codes(tmp_path, 'net: "x" base_lr: 0.1 type: "Adam"') == []


@pytest.mark.parametrize("code", ["NS001", "NS003", "NS006", "NS007"])
def test_fixes(code: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("# a comment\n" + EXAMPLES[code][0])
    found = check(str(path))
    assert [p.code for p in found] == [code]
    path.write_text(fix(path.read_text(), found))
    assert check(str(path)) == []
    assert path.read_text().startswith("# a comment\n")


def test_fix_of_an_old_field(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        INPUT
        + 'layer { name: "c" type: "Concat" bottom: "data" bottom: "data" top: "c"\n concat_param { concat_dim: 2 } }'
    )
    found = check(str(path))
    assert [p.code for p in found] == ["NS017"]
    path.write_text(fix(path.read_text(), found))
    assert check(str(path)) == [] and "axis: 2" in path.read_text()


def test_no_false_alarms() -> None:
    assert PROTOTXT and [str(p) for path in PROTOTXT for p in check(str(path))] == []
    assert SOLVERS and [str(p) for path in SOLVERS for p in check(str(path))] == []


def test_ignore(tmp_path: Path) -> None:
    assert codes(tmp_path, EXAMPLES["NS010"][0], ignore=["NS010"]) == []


def test_every_rule_is_explained_and_tested() -> None:
    tested = {*EXAMPLES, "NS004", "NS014", "NS015", "NS018"} - {"NS000"}
    assert set(rules()) == tested
    assert all("Put right" in rule.explanation and rule.title for rule in rules().values())
    assert explain("ns012").code == "NS012"
    with pytest.raises(SpecError, match="no rule NS999"):
        explain("NS999")


def test_user_code_is_no_fault(tmp_path: Path) -> None:
    own = 'layer { name: "own" type: "Python" bottom: "data" top: "own" python_param { module: "m" layer: "L" } }'
    assert codes(tmp_path, INPUT + own) == []
    assert codes(tmp_path, INPUT + BN + layer("r", "ReLU", "b", "b") + own.replace('"data"', '"b"')) == ["NS010"]
