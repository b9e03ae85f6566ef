"""FCN-8s for the benchmark: a hand-written module, and files of one set of random weights in everybody's format.

python tools/bench_fcn8s.py FOLDER weights          fcn8s.caffemodel, fcn8s.pt
python tools/bench_fcn8s.py FOLDER net 1x3x500x500  fcn8s.prototxt, fcn8s.onnx, images.npy, labels.npy of that size
python tools/bench_fcn8s.py FOLDER images ...       images.npy alone
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "prototxt/voc-fcn8s/deploy.prototxt"
Shape = tuple[int, int, int, int]


def module(skips: bool = True) -> Any:
    """FCN-8s as a good engineer writes it in PyTorch, with the released net's layers, pads, crops and kernels.

    Without skips it is FCN-32s.
    """
    import torch
    from torch import nn

    def stage(number: int, channels: int, width: int, convs: int, first_pad: int = 1) -> nn.Sequential:
        stage = nn.Sequential()
        for i in range(1, convs + 1):
            pad = first_pad if i == 1 else 1
            stage.add_module(f"conv{number}_{i}", nn.Conv2d(channels if i == 1 else width, width, 3, padding=pad))
            stage.add_module(f"relu{number}_{i}", nn.ReLU(inplace=True))
        stage.add_module(f"pool{number}", nn.MaxPool2d(2, 2, ceil_mode=True))
        return stage

    def up(kernel: int, stride: int) -> nn.ConvTranspose2d:
        layer = nn.ConvTranspose2d(21, 21, kernel, stride, bias=False)
        layer.weight.requires_grad_(False)
        f = (kernel + 1) // 2
        line = 1 - (torch.arange(kernel) - (f - 0.5)).abs() / f
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[range(21), range(21)] = line[:, None] * line[None, :]
        return layer

    def crop(x: Any, offset: int, like: Any) -> Any:
        return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    class FCN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_pool3 = nn.Sequential(stage(1, 3, 64, 2, 100), stage(2, 64, 128, 2), stage(3, 128, 256, 3))
            self.to_pool4, self.to_pool5 = stage(4, 256, 512, 3), stage(5, 512, 512, 3)
            self.fc6, self.relu6, self.drop6 = nn.Conv2d(512, 4096, 7), nn.ReLU(inplace=True), nn.Dropout(0.5)
            self.fc7, self.relu7, self.drop7 = nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout(0.5)
            self.score_fr = nn.Conv2d(4096, 21, 1)
            if not skips:
                self.upscore = up(64, 32)
                return
            self.score_pool4, self.score_pool3 = nn.Conv2d(512, 21, 1), nn.Conv2d(256, 21, 1)
            self.upscore2, self.upscore_pool4, self.upscore8 = up(4, 2), up(4, 2), up(16, 8)

        def forward(self, data: Any) -> Any:
            pool3 = self.to_pool3(data)
            pool4 = self.to_pool4(pool3)
            x = self.drop6(self.relu6(self.fc6(self.to_pool5(pool4))))
            x = self.score_fr(self.drop7(self.relu7(self.fc7(x))))
            if not skips:
                return crop(self.upscore(x), 19, data)
            x = self.upscore2(x)
            x = self.upscore_pool4(x + crop(self.score_pool4(pool4), 5, x))
            x = self.upscore8(x + crop(self.score_pool3(pool3), 9, x))
            return crop(x, 31, data)

    return FCN()


def load_module(folder: str) -> Any:
    """The module with the stored weights, never more of them in memory than once."""
    import torch

    with torch.device("meta"):
        net = module()
    net.load_state_dict(torch.load(Path(folder) / "fcn8s.pt"), assign=True)
    return net


def randomize(net: Any) -> None:
    """He-scaled weights, so that nothing is zero, denormal or infinite, and scores about as large as learned ones."""
    import torch

    torch.manual_seed(0)
    for name, p in net.named_parameters():
        if p.requires_grad and p.ndim > 1:
            torch.nn.init.kaiming_normal_(p)
            p.data *= 0.01 if name.startswith("score") else 1
        elif p.requires_grad:
            torch.nn.init.normal_(p, std=0.01)


def copy(written: Any, net: Any) -> None:
    """The module's weights into netspec's net: its layers are named as the net's."""
    import torch

    mine = dict(net.named_parameters())
    with torch.no_grad():
        for name, p in written.named_parameters():
            mine[".".join(name.split(".")[-2:])].copy_(p)


def write_weights(folder: Path) -> None:
    """fcn8s.pt and fcn8s.caffemodel."""
    import torch

    import netspec
    from netspec import weights

    written = module()
    randomize(written)
    torch.save(written.state_dict(), folder / "fcn8s.pt")
    net = netspec.load(DEPLOY, shapes={"data": (1, 3, 64, 64)})
    copy(written, net)
    weights.write(folder / "fcn8s.caffemodel", net.to_model())


def write_net(folder: Path, shape: Shape) -> None:
    """fcn8s.prototxt and, where onnx is installed, fcn8s.onnx for images of this shape, and the images."""
    from netspec import weights
    from netspec.export import export
    from netspec.export.plan import ready
    from netspec.pipeline import load_graph

    text = DEPLOY.read_text()
    declared = "\n".join(f"      dim: {n}" for n in (1, 3, 500, 500))
    assert declared in text
    (folder / "fcn8s.prototxt").write_text(text.replace(declared, "\n".join(f"      dim: {n}" for n in shape)))
    write_images(folder, shape)
    if find_spec("onnx"):
        net = ready(load_graph(folder / "fcn8s.prototxt", "TEST"), weights.read(folder / "fcn8s.caffemodel"))
        export(net, folder / "fcn8s.onnx", fixed_size=True, verify=False)


def write_images(folder: Path, shape: Shape) -> None:
    """images.npy and labels.npy: noise as wide as pixels without their mean, classes at random."""
    import numpy as np

    random = np.random.default_rng(0)
    np.save(folder / "images.npy", random.standard_normal(shape, np.float32) * 60)
    np.save(folder / "labels.npy", random.integers(0, 21, (shape[0], 1, *shape[2:])).astype(np.float32))


def make(folder: str, what: str, shape: Shape | None = None) -> None:
    """Writes files from a process of its own: what it takes in memory is not counted with anybody."""
    words = [what] + (["x".join(map(str, shape))] if shape else [])
    subprocess.run([sys.executable, __file__, folder, *words], check=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    n, c, h, w = (int(n) for n in (sys.argv[3] if len(sys.argv) > 3 else "1x3x500x500").split("x"))
    match sys.argv[2]:
        case "weights":
            write_weights(folder)
        case "net":
            write_net(folder, (n, c, h, w))
        case "images":
            write_images(folder, (n, c, h, w))
