"""ResNet-50, converted from Caffe.

Takes `data`: batch x 3 x height x width.
Gives `prob`: batch x 1000.

    from resnet50 import load

    net = load()
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    """The form of res2a, res3a, res4a and res5a."""

    def __init__(
        self, in_channels: int, branch1_out: int, stride: int, branch2a_out: int
    ) -> None:
        super().__init__()
        self.branch1 = nn.Conv2d(in_channels, branch1_out, 1, stride=stride, bias=False)
        self.bn_branch1 = nn.BatchNorm2d(branch1_out)
        self.branch2a = nn.Conv2d(
            in_channels, branch2a_out, 1, stride=stride, bias=False
        )
        self.bn_branch2a = nn.BatchNorm2d(branch2a_out)
        self.branch2b = nn.Conv2d(branch2a_out, branch2a_out, 3, padding=1, bias=False)
        self.bn_branch2b = nn.BatchNorm2d(branch2a_out)
        self.branch2c = nn.Conv2d(branch2a_out, branch1_out, 1, bias=False)
        self.bn_branch2c = nn.BatchNorm2d(branch1_out)

    def forward(self, x: Tensor) -> Tensor:
        branch1 = self.bn_branch1(self.branch1(x))
        y = F.relu(self.bn_branch2a(self.branch2a(x)))
        y = F.relu(self.bn_branch2b(self.branch2b(y)))
        branch2c = self.bn_branch2c(self.branch2c(y))
        return F.relu(branch1 + branch2c)


class ResBlock2(nn.Module):
    """The form of res2b to res5c."""

    def __init__(self, in_channels: int, branch2a_out: int) -> None:
        super().__init__()
        self.branch2a = nn.Conv2d(in_channels, branch2a_out, 1, bias=False)
        self.bn_branch2a = nn.BatchNorm2d(branch2a_out)
        self.branch2b = nn.Conv2d(branch2a_out, branch2a_out, 3, padding=1, bias=False)
        self.bn_branch2b = nn.BatchNorm2d(branch2a_out)
        self.branch2c = nn.Conv2d(branch2a_out, in_channels, 1, bias=False)
        self.bn_branch2c = nn.BatchNorm2d(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_branch2a(self.branch2a(x)))
        y = F.relu(self.bn_branch2b(self.branch2b(y)))
        branch2c = self.bn_branch2c(self.branch2c(y))
        return F.relu(x + branch2c)


class ResNet50(nn.Module):
    """ResNet-50, converted from Caffe."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn_conv1 = nn.BatchNorm2d(64)
        self.res2a = ResBlock(64, 256, 1, 64)
        self.res2b = ResBlock2(256, 64)
        self.res2c = ResBlock2(256, 64)
        self.res3a = ResBlock(256, 512, 2, 128)
        self.res3b = ResBlock2(512, 128)
        self.res3c = ResBlock2(512, 128)
        self.res3d = ResBlock2(512, 128)
        self.res4a = ResBlock(512, 1024, 2, 256)
        self.res4b = ResBlock2(1024, 256)
        self.res4c = ResBlock2(1024, 256)
        self.res4d = ResBlock2(1024, 256)
        self.res4e = ResBlock2(1024, 256)
        self.res4f = ResBlock2(1024, 256)
        self.res5a = ResBlock(1024, 2048, 2, 512)
        self.res5b = ResBlock2(2048, 512)
        self.res5c = ResBlock2(2048, 512)
        self.fc1000 = nn.Linear(2048, 1000)

    def forward(self, data: Tensor) -> Tensor:
        x = F.relu(self.bn_conv1(self.conv1(data)))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.res2a(x)
        x = self.res2b(x)
        x = self.res2c(x)
        x = self.res3a(x)
        x = self.res3b(x)
        x = self.res3c(x)
        x = self.res3d(x)
        x = self.res4a(x)
        x = self.res4b(x)
        x = self.res4c(x)
        x = self.res4d(x)
        x = self.res4e(x)
        x = self.res4f(x)
        x = self.res5a(x)
        x = self.res5b(x)
        x = self.res5c(x)
        x = F.adaptive_avg_pool2d(x, 1)
        return torch.softmax(self.fc1000(x.flatten(1)), 1)


def load(weights: str | Path | None = None) -> ResNet50:
    """The net with its weights, by default those beside this file."""
    net = ResNet50()
    path = Path(__file__).with_suffix(".pt") if weights is None else weights
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


if __name__ == "__main__":
    with torch.inference_mode():
        outputs = load()(torch.zeros(1, 3, 224, 224))
    print("prob", tuple(outputs.shape))
