"""Bilinear kernels for frozen upsampling layers that nothing else has filled.

For size k: factor f = (k + 1) // 2, centre c = f - 1 for odd k, f - 0.5 for even k,
weight (1 - |x - c| / f)(1 - |y - c| / f), from channel i to channel i only.
"""

from __future__ import annotations

import numpy as np
import torch

from netspec.net import Net
from netspec.solver.log import logger
from netspec.step import Step


def kernel(size: int) -> np.ndarray:
    """The bilinear kernel, size x size, float32."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(line, line).astype(np.float32)


def fill_upsampling(net: Net) -> list[str]:
    """Fills Deconvolution layers whose weights are frozen, square and all zero; the names of those it filled."""
    filled = [step.spec.name for number, step in enumerate(net.steps) if _wants(net, number, step)]
    for step in net.steps:
        if step.spec.name in filled:
            weight = step.params()[0].data
            values = torch.from_numpy(kernel(weight.shape[-1])).to(weight)
            if weight.shape[1] == 1:
                weight.copy_(values.expand_as(weight))
            else:
                weight.diagonal(dim1=0, dim2=1).copy_(values.unsqueeze(-1).expand(-1, -1, weight.shape[0]))
    if filled:
        logger.info("bilinear kernels put into frozen upsampling layers: %s", ", ".join(filled))
    return filled


def _wants(net: Net, number: int, step: Step) -> bool:
    """Weights are inputs x outputs per group x k x k: channels are kept with as many of both, or one per group."""
    if step.spec.type != "Deconvolution" or not step.params():
        return False
    weight, group = step.params()[0], step.layer.p.group
    frozen = all(p.lr_mult == 0 for p in net.table if p.layer == number and p.index == 0)
    square = weight.dim() == 4 and weight.shape[2] == weight.shape[3]
    kept = weight.dim() == 4 and (weight.shape[0] == weight.shape[1] if group == 1 else weight.shape[:2] == (group, 1))
    return frozen and square and kept and not bool(weight.any())
