"""`import caffe` served by netspec, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import caffe, netspec.pycaffe
import caffe.io, caffe.layers as L, caffe.proto.caffe_pb2 as pb
from caffe import layers, params as P, NetSpec
from caffe.proto import caffe_pb2
import caffe.coord_map, caffe.net_spec, caffe.draw, caffe.classifier, caffe.detector, caffe.pycaffe, caffe.params
import caffe._caffe
assert caffe is netspec.pycaffe and caffe.io is sys.modules["netspec.pycaffe.io"] and pb is caffe_pb2
assert caffe.__spec__.name == "netspec.pycaffe" and caffe.io.__spec__.name == "netspec.pycaffe.io"
assert caffe.pycaffe.Net is caffe._caffe.Net is caffe.Net and L.ReLU.__name__ == "ReLU" and P.Pooling.MAX == 0
try:
    import caffe.nothing
except ModuleNotFoundError:
    pass
print(__name__, sys.argv, caffe.TRAIN, len(caffe.layer_type_list()) > 50)
if "--fail" in sys.argv:
    caffe.Net("nothing.prototxt", caffe.TEST)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The script, and a caffe that stands in the way."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "caffe.py").write_text("raise ImportError('the other caffe')")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_scripts_run_under_the_command(folder: Path) -> None:
    done = run(folder, "-m", "netspec", "python", "script.py", "0", "--gpu", "1")
    assert done.stdout == "__main__ ['script.py', '0', '--gpu', '1'] 0 True\n", done.stderr
    assert done.returncode == 0


def test_scripts_run_under_the_module_and_show_their_tracebacks(folder: Path) -> None:
    done = run(folder, "-m", "netspec.pycaffe", "script.py", "--fail")
    assert done.returncode == 1 and done.stdout.startswith("__main__ ['script.py', '--fail']")
    assert 'script.py", line' in done.stderr and "nothing.prototxt: error: cannot read" in done.stderr


def test_elsewhere_a_caffe_is_not_shadowed(folder: Path) -> None:
    done = run(folder, "-c", "import netspec.pycaffe\nimport caffe")
    assert done.returncode == 1 and "the other caffe" in done.stderr


def test_a_missing_script_is_one_line(folder: Path) -> None:
    done = run(folder, "-m", "netspec", "python", "missing.py")
    assert done.returncode == 1 and done.stderr == "missing.py: error: no such script\n"


def test_no_script_is_wrong_usage(folder: Path) -> None:
    done = run(folder, "-m", "netspec.pycaffe")
    assert done.returncode == 2 and done.stderr.startswith("usage: python -m netspec.pycaffe SCRIPT")


def test_other_verbs_run_python_layers_where_it_is_allowed(folder: Path) -> None:
    (folder / "caffe.py").unlink()
    (folder / "mine.py").write_text(
        "import caffe\n"
        "class Ones(caffe.Layer):\n"
        "    def reshape(self, bottom, top): top[0].reshape(2, 3)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 1\n"
    )
    ones = 'layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 } } } '
    ones += 'layer { name: "ones" type: "Python" bottom: "in" top: "x" python_param { module: "mine" layer: "Ones" } }'
    (folder / "net.prototxt").write_text(ones + ' layer { name: "y" type: "Reduction" bottom: "x" top: "y" }')
    command = ("-m", "netspec", "time", "net.prototxt", "--iterations", "1")
    done = run(folder, *command)
    assert done.returncode == 1 and "--allow-python" in done.stderr
    done = run(folder, *command, "--allow-python")
    assert done.returncode == 0 and "Reduction" in done.stdout, done.stderr
