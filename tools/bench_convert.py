"""Times `netspec convert` of a caffemodel of VGG16's size, made of random numbers, beside what costs least and most.

One round, one after the other, each in a process of its own: `cp` of the file, the conversions (which check what they
wrote, as by default), and reading the file with protobuf's own message, its values as arrays. Medians over rounds;
ratios are to `cp` of the same round and to the size of the file. A first round, which fills the system's cache, does
not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NET = ROOT / "prototxt/vgg16/deploy.prototxt"
FORMATS = (".caffemodel", ".caffemodel.h5", ".safetensors", ".npz", ".pt")
MESSAGE = """
import sys
import numpy as np
from netspec import schema
net = schema.message_class("NetParameter").FromString(open(sys.argv[1], "rb").read())
arrays = [np.array(blob.data, np.float32) for layer in net.layer for blob in layer.blobs]
"""


def make(path: Path, share: int) -> None:
    """Random weights for VGG16, of every blob the first of `share` parts."""
    import numpy as np

    import netspec
    from netspec import weights
    from netspec.passes.bind import bind
    from netspec.passes.infer_shapes import infer_shapes
    from netspec.passes.parameters import parameters
    from netspec.weights.model import Model, StoredLayer

    graph = netspec.load_graph(NET)
    bound, rng = bind(graph), np.random.default_rng(0)
    layers = [StoredLayer(spec.name, spec.type) for spec in bound.graph.layers]
    for entry in parameters(bound, infer_shapes(bound)):
        shape = entry.blob.shape
        layers[entry.layer].blobs.append(rng.standard_normal((max(1, shape[0] // share), *shape[1:]), np.float32))
    weights.write(path, Model(graph.name, [s for s in layers if s.blobs]))


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main(runs: int, quick: bool) -> None:
    """Prints a row per contender."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vgg16.caffemodel"
        # In a process of its own: a process counts the memory of the one that it was started from.
        subprocess.run([sys.executable, __file__, str(source), "16" if quick else "1"], check=True)
        size = source.stat().st_size / 2**20
        contenders = {"cp": ["cp", str(source), f"{folder}/copy"]}
        for end in FORMATS:
            contenders[f"to {end}"] = [sys.executable, "-m", "netspec", "convert", str(source), f"{folder}/out{end}"]
        for end in FORMATS[1:]:
            back = [sys.executable, "-m", "netspec", "convert", f"{folder}/out{end}", f"{folder}/back.caffemodel"]
            contenders[f"from {end}"] = back
        contenders["protobuf message"] = [sys.executable, "-c", MESSAGE, str(source)]
        rounds = [{name: measure(command) for name, command in contenders.items()} for _ in range(runs + 1)][1:]
    print(f"caffemodel of {size:.0f} MiB, median of {runs} rounds")
    print(f"{'':22}{'seconds':>9}{'peak MiB':>10}{'time / cp':>11}{'memory / file':>15}")
    for name in contenders:
        seconds, peak = (statistics.median(r[name][i] for r in rounds) for i in (0, 1))
        ratio = statistics.median(r[name][0] / r["cp"][0] for r in rounds)
        print(f"{name:22}{seconds:9.2f}{peak:10.0f}{ratio:11.1f}{peak / size:15.2f}")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
