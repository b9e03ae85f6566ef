"""GoogleNet, converted from Caffe.

Takes `data`: batch x 3 x 224 x 224.
Gives `prob`: batch x 1000.

    from googlenet import load

    net = load()
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InceptionBlock(nn.Module):
    """The form of inception_3a to inception_5b."""

    def __init__(
        self,
        in_channels: int,
        conv_1x1_out: int,
        conv_3x3_reduce_out: int,
        conv_3x3_out: int,
        conv_5x5_reduce_out: int,
        conv_5x5_out: int,
        pool_proj_out: int,
    ) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv2d(in_channels, conv_1x1_out, 1)
        self.conv_3x3_reduce = nn.Conv2d(in_channels, conv_3x3_reduce_out, 1)
        self.conv_3x3 = nn.Conv2d(conv_3x3_reduce_out, conv_3x3_out, 3, padding=1)
        self.conv_5x5_reduce = nn.Conv2d(in_channels, conv_5x5_reduce_out, 1)
        self.conv_5x5 = nn.Conv2d(conv_5x5_reduce_out, conv_5x5_out, 5, padding=2)
        self.pool_proj = nn.Conv2d(in_channels, pool_proj_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch_1x1 = F.relu(self.conv_1x1(x))
        y = F.relu(self.conv_3x3_reduce(x))
        branch_3x3 = F.relu(self.conv_3x3(y))
        y = F.relu(self.conv_5x5_reduce(x))
        branch_5x5 = F.relu(self.conv_5x5(y))
        y = F.max_pool2d(x, 3, 1, padding=1)
        pool_proj = F.relu(self.pool_proj(y))
        return torch.cat([branch_1x1, branch_3x3, branch_5x5, pool_proj], 1)


class GoogleNet(nn.Module):
    """GoogleNet, converted from Caffe."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_7x7_s2 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.conv2_3x3_reduce = nn.Conv2d(64, 64, 1)
        self.conv2_3x3 = nn.Conv2d(64, 192, 3, padding=1)
        self.inception_3a = InceptionBlock(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = InceptionBlock(256, 128, 128, 192, 32, 96, 64)
        self.inception_4a = InceptionBlock(480, 192, 96, 208, 16, 48, 64)
        self.inception_4b = InceptionBlock(512, 160, 112, 224, 24, 64, 64)
        self.inception_4c = InceptionBlock(512, 128, 128, 256, 24, 64, 64)
        self.inception_4d = InceptionBlock(512, 112, 144, 288, 32, 64, 64)
        self.inception_4e = InceptionBlock(528, 256, 160, 320, 32, 128, 128)
        self.inception_5a = InceptionBlock(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = InceptionBlock(832, 384, 192, 384, 48, 128, 128)
        self.loss3_classifier = nn.Linear(1024, 1000)

    def forward(self, data: Tensor) -> Tensor:
        x = F.relu(self.conv1_7x7_s2(data))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = F.local_response_norm(x, 5, alpha=0.0001, beta=0.75)
        x = F.relu(self.conv2_3x3_reduce(x))
        x = F.relu(self.conv2_3x3(x))
        x = F.local_response_norm(x, 5, alpha=0.0001, beta=0.75)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.inception_3a(x)
        x = self.inception_3b(x)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.inception_4a(x)
        x = self.inception_4b(x)
        x = self.inception_4c(x)
        x = self.inception_4d(x)
        x = self.inception_4e(x)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.inception_5a(x)
        x = self.inception_5b(x)
        x = F.dropout(F.avg_pool2d(x, 7, 1), 0.4, self.training)
        return torch.softmax(self.loss3_classifier(x.flatten(1)), 1)


def load(weights: str | Path | None = None) -> GoogleNet:
    """The net with its weights, by default those beside this file."""
    net = GoogleNet()
    path = Path(__file__).with_suffix(".pt") if weights is None else weights
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


if __name__ == "__main__":
    with torch.inference_mode():
        outputs = load()(torch.zeros(1, 3, 224, 224))
    print("prob", tuple(outputs.shape))
