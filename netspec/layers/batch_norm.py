"""BatchNorm: normalisation by the statistics of a batch, or by moving averages of them."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import schema
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.lazytorch import torch


class BatchNorm(Layer):
    """y = (x − mean) / √(variance + eps) per channel (axis 1), without a learned factor or bias: Scale has those.

    In NVIDIA's nets (scale_bias) and Intel's (filler or bias_filler, unless use_weight_bias is false) it has its own:
    scale · y + bias.
    With use_global_stats (the default in the TEST phase) mean and variance are the stored sums over the stored weight;
    a weight of 0 makes both 0. Otherwise they are the batch's, and each pass adds them to the stored sums after these
    were multiplied by moving_average_fraction: the mean, the variance over n − 1, and 1 for the weight.
    Shapes: N x C x any -> the same; a single axis is one channel.
    Blobs: mean (C), variance (C), weight (1): sums and what they weigh, all 0 at first, never learned. Where it has
        them: scale (C), 1 unless scale_filler or filler says otherwise, and bias (C), 0 unless bias_filler does.
    Errors: a bottom without axes.
    Source: Caffe's BatchNorm (Ioffe and Szegedy 2015).
    """

    settings = "batch_norm_param"

    def setup(self) -> None:
        given = self.p.HasField("use_global_stats")
        self.stored: bool = self.p.use_global_stats if given else self.phase == "TEST"
        intel = self.p.use_weight_bias and (self.p.HasField("filler") or self.p.HasField("bias_filler"))
        self.affine: bool = self.p.scale_bias or intel

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if not bottoms[0]:
            raise self.fail("a bottom without axes has no batch")
        return [bottoms[0]]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        shapes = {"mean": (channels,), "variance": (channels,), "weight": (1,)}
        blobs = [ParamBlob(name, shape, learn=False) for name, shape in shapes.items()]
        return blobs + self.own_blobs((channels,)) if self.affine else blobs

    def own_blobs(self, shape: Shape) -> list[ParamBlob]:
        """The factor and, unless bias_term is false, the bias that Scale has otherwise."""
        filler = next((name for name in ("scale_filler", "filler") if self.p.HasField(name)), None)
        ones = getattr(self.p, filler) if filler else schema.new("FillerParameter", value=1)
        blobs = [ParamBlob("scale", shape, ones), ParamBlob("bias", shape, self.p.bias_filler)]
        return blobs if self.p.bias_term else blobs[:1]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0] if bottoms[0].ndim > 1 else bottoms[0][:, None]
        factor, bias = (*params[3:], None, None)[:2]
        if self.stored:
            mean, variance, weight = params[:3]
            share = self.share(weight)
            y = batch_norm(x, factor, bias, mean * share, variance * share, False, self.p.eps)
        else:
            mean, variance = (torch.zeros_like(p) for p in params[:2])
            y = batch_norm(x, factor, bias, mean, variance, True, self.p.eps)
            single = x.numel() == x.shape[1]
            self.remember(
                params[:3], [mean, torch.zeros_like(variance) if single else variance, torch.ones_like(params[2])]
            )
        return [y if bottoms[0].ndim > 1 else y[:, 0]]

    def linear(self) -> bool:
        return self.stored

    def factor_and_shift(self, params: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        share = self.share(params[2])
        factor = (params[1] * share + self.p.eps).rsqrt()
        shift = -params[0] * share * factor
        if self.affine:
            factor, shift = factor * params[3], shift * params[3]
        return factor, shift + params[4] if len(params) > 4 else shift

    def share(self, weight: torch.Tensor) -> torch.Tensor:
        """1 / weight, and 0 for 0."""
        return weight.reciprocal().nan_to_num_(torch.nan, posinf=0.0, neginf=0.0)

    def remember(self, params: Sequence[torch.Tensor], batch: Sequence[torch.Tensor]) -> None:
        """Adds the batch's statistics to the stored sums."""
        with torch.no_grad():
            for total, new in zip(params, batch, strict=True):
                total.mul_(self.p.moving_average_fraction).add_(new)

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return self.stored


def batch_norm(
    x: torch.Tensor,
    factor: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor,
    variance: torch.Tensor,
    train: bool,
    eps: float,
) -> torch.Tensor:
    """By the given statistics, or by those of x, which replace them. Called without the checks of torch's wrapper."""
    return torch.batch_norm(x, factor, bias, mean, variance, train, 1.0, eps, torch.backends.cudnn.enabled)
