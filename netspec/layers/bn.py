"""BN: batch normalisation with its own factor and bias, as the forks before BatchNorm have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec import schema
from netspec.errors import LayerError
from netspec.ir.coords import IDENTITY, CoordMap
from netspec.layers.base import Layer, ParamBlob, Shape
from netspec.lazytorch import F, torch

AVERAGING = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "var_eps", "decay", "moving_average", "axis")


class BN(Layer):
    """y = scale · (x − mean) / √(variance + eps) + shift per channel, by the batch's statistics or stored ones.

    Two forms, told apart by their fields, else by the number of `param` entries:
    SegNet's (bn_mode): LEARN takes the batch's, in both phases, with eps 1e-9; INFERENCE is y = scale · x + shift.
    PSPNet's (slope_filler, bias_filler, momentum, eps, frozen): TRAIN takes the batch's and moves the stored values
    towards them, stored = momentum · stored + (1 − momentum) · batch; TEST and frozen take the stored ones; frozen
    learns nothing. Its older fields: var_eps is eps, decay is 1 − momentum, and with any of var_eps, decay,
    moving_average and axis TEST takes the batch's unless moving_average is true.
    Shapes: N x C x any -> the same; on demand SegNet's has the batch's mean and variance too (1 x C x 1 x 1).
        Variances are over n.
    Blobs: scale, shift (1 x C x 1 x 1); PSPNet's also mean, variance (the same), 0 and 1 at first, never learned.
    Errors: fields of both forms; further tops in PSPNet's or in INFERENCE; axis other than 1; a bottom of one axis.
    Source: the BN layers of SegNet, DeconvNet and ENet, and of PSPNet. Where the variance starts from 0 there, it does
        from 1 here, and the scale from 1 without a filler, so that a net without weights stays finite.
    """

    settings = "bn_param"
    tops = (1, 3)

    def setup(self) -> None:
        p = self.p
        averaging = [name for name in AVERAGING if p.HasField(name)]
        self.stores = bool(averaging) or (len(self.proto.param) > 2 and not p.HasField("bn_mode"))
        if averaging and p.HasField("bn_mode"):
            raise self.fail(f"bn_mode and {averaging[0]} belong to different kinds of BN", "bn_mode")
        for older, newer in (("scale_filler", "slope_filler"), ("shift_filler", "bias_filler")):
            if p.HasField(older) and p.HasField(newer):
                raise self.fail(f"give {older} or {newer}, not both", older)
        if p.axis != 1:
            raise self.fail(f"axis {p.axis} is not supported; it must be 1", "axis")
        self.plain = not self.stores and schema.enum_name(p, "bn_mode") == "INFERENCE"
        old = any(p.HasField(name) for name in ("var_eps", "decay", "moving_average", "axis"))
        self.eps = (p.var_eps if old and not p.HasField("eps") else p.eps) if self.stores else 1e-9
        self.momentum = 1 - p.decay if old and not p.HasField("momentum") else p.momentum
        tests_stored = p.moving_average if old and not p.frozen else True
        self.stored = self.stores and (p.frozen or (self.phase == "TEST" and tests_stored))
        if len(self.proto.top) > 1 and (self.stores or self.plain):
            raise LayerError("only bn_mode LEARN has tops for mean and variance", field="top")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        bottom = bottoms[0]
        if len(bottom) < 2:
            raise self.fail(f"bottom {list(bottom)} must have at least two axes: images, channels, ...")
        return [bottom, *[(1, bottom[1], 1, 1)] * 2][: max(1, len(self.proto.top))]

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        shape, p = (1, bottoms[0][1], 1, 1), self.p
        learn = not p.frozen
        factor = self.filler("slope_filler" if p.HasField("slope_filler") else "scale_filler", 1)
        bias = self.filler("bias_filler" if p.HasField("bias_filler") else "shift_filler", 0)
        blobs = [ParamBlob("scale", shape, factor, learn), ParamBlob("shift", shape, bias, learn)]
        if not self.stores:
            return blobs
        stored = (("mean", constant(0)), ("variance", constant(1)))
        return blobs + [ParamBlob(name, shape, filler, False) for name, filler in stored]

    def filler(self, name: str, value: float) -> Any:
        return getattr(self.p, name) if self.p.HasField(name) else constant(value)

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        x = bottoms[0]
        scale, shift, *stored = (p.flatten() for p in params)
        if self.plain:
            spread = (-1, *[1] * (x.ndim - 2))
            return [torch.addcmul(shift.reshape(spread), x, scale.reshape(spread))]
        if self.stored:
            mean, variance = (s.detach() for s in stored)
            return [F.batch_norm(x, mean, variance, scale, shift, eps=self.eps)]
        top = torch.batch_norm(x, scale, shift, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled)
        if not self.stores and len(self.proto.top) < 2:
            return [top]
        variance, mean = torch.var_mean(x.detach(), [a for a in range(x.ndim) if a != 1], correction=0)
        if self.stores and self.phase == "TRAIN":
            self.remember(params[2:], (mean, variance))
        tops = [top, *(v.reshape(1, -1, 1, 1) for v in (mean, variance))]
        return tops[: max(1, len(self.proto.top))]

    def remember(self, stored: Sequence[torch.Tensor], batch: Sequence[torch.Tensor]) -> None:
        """Moves the stored values towards the batch's."""
        with torch.no_grad():
            for old, new in zip(stored, batch, strict=True):
                old.mul_(self.momentum).add_(new.reshape(old.shape), alpha=1 - self.momentum)

    def coord_map(self) -> CoordMap:
        return IDENTITY

    def pixelwise(self) -> bool:
        return self.plain or self.stored


def constant(value: float) -> Any:
    """A filler of one value."""
    return schema.new("FillerParameter", type="constant", value=value)
