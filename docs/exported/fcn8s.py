"""fcn8s, converted from Caffe.

Takes `data`: batch x 3 x height x width.
Gives `score`: batch x 21 x height x width.

    from fcn8s import load

    net = load()
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def crop(x: Tensor, like: Tensor, top: int, left: int) -> Tensor:
    """The part of x that starts at (top, left) and is as high and wide as `like`."""
    height, width = like.shape[2:]
    return x[:, :, top : top + height, left : left + width]


class Fcn8s(nn.Module):
    """fcn8s, converted from Caffe."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 64, 3, padding=100)
        self.conv1_2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2_1 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv2_2 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv3_1 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv3_2 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv3_3 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv4_1 = nn.Conv2d(256, 512, 3, padding=1)
        self.conv4_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv4_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_1 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.score_fr = nn.Conv2d(4096, 21, 1)
        self.upscore2 = nn.ConvTranspose2d(21, 21, 4, stride=2, bias=False)
        self.score_pool4 = nn.Conv2d(512, 21, 1)
        self.upscore_pool4 = nn.ConvTranspose2d(21, 21, 4, stride=2, bias=False)
        self.score_pool3 = nn.Conv2d(256, 21, 1)
        self.upscore8 = nn.ConvTranspose2d(21, 21, 16, stride=8, bias=False)

    def forward(self, data: Tensor) -> Tensor:
        x = F.relu(self.conv1_1(data))
        x = F.relu(self.conv1_2(x))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.conv2_1(x))
        x = F.relu(self.conv2_2(x))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.conv3_1(x))
        x = F.relu(self.conv3_2(x))
        x = F.relu(self.conv3_3(x))
        pool3 = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.conv4_1(pool3))
        x = F.relu(self.conv4_2(x))
        x = F.relu(self.conv4_3(x))
        pool4 = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.conv5_1(pool4))
        x = F.relu(self.conv5_2(x))
        x = F.relu(self.conv5_3(x))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.fc6(x))
        x = F.relu(self.fc7(x))
        x = self.score_fr(x)
        upscore2 = self.upscore2(x)
        x = self.score_pool4(pool4)
        x = crop(x, upscore2, 5, 5)
        x = upscore2 + x
        upscore_pool4 = self.upscore_pool4(x)
        x = self.score_pool3(pool3)
        x = crop(x, upscore_pool4, 9, 9)
        x = upscore_pool4 + x
        x = self.upscore8(x)
        return crop(x, data, 31, 31)


def load(weights: str | Path | None = None) -> Fcn8s:
    """The net with its weights, by default those beside this file."""
    net = Fcn8s()
    path = Path(__file__).with_suffix(".pt") if weights is None else weights
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


if __name__ == "__main__":
    with torch.inference_mode():
        outputs = load()(torch.zeros(1, 3, 500, 500))
    print("score", tuple(outputs.shape))
