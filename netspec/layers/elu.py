"""ELU: exponential linear unit."""

from __future__ import annotations

from netspec.layers.elementwise import Elementwise
from netspec.lazytorch import F, torch


class ELU(Elementwise):
    """y = x where x > 0, alpha · (exp(x) − 1) elsewhere.

    Shapes: any -> the same.
    Source: Caffe's ELU (Clevert et al. 2015); at 0 the gradient is alpha.
    """

    settings = "elu_param"
    reusable_top = False

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        alpha = self.p.alpha
        # In place the slope is found from the output, which a negative alpha makes ambiguous.
        return F.elu(x, alpha, inplace=self.overwrite and alpha >= 0)
