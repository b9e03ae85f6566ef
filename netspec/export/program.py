"""`.pt2`: the PyTorch module of a plan as torch.export saves it, with sizes that change where they may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from netspec.errors import Loc, SpecError
from netspec.export.picture import Picture
from netspec.export.plan import Plan
from netspec.export.standalone import make_net


def write(plan: Plan, path: Path, picture: Picture | None = None) -> list[Path]:
    """Exports the module for the second trial's sizes, for a batch of 1 would be taken for one of 1 for ever."""
    loops = [f"'{s.site.name}' ({s.site.layer.type})" for s in plan.stops if not s.form.traced]
    if loops:
        message = f"torch.export has no loops, which these layers are: {', '.join(loops)} (.onnx and .py have)"
        raise SpecError(message, Loc(plan.source))
    net = make_net(plan, picture)
    shapes = plan.trials[min(1, len(plan.trials) - 1)]
    inputs = tuple(example(shape, picture) for shape in shapes.values())
    dynamic = tuple(dims(plan.axes[b], picture) for b in plan.inputs)
    try:
        program = torch.export.export(net, inputs, dynamic_shapes=dynamic)
    except Exception as e:  # the exporter raises errors of many kinds
        first = str(e).strip().split("\n")[0]
        raise SpecError(f"torch.export does not take the net: {first}", Loc(plan.source)) from e
    torch.export.save(program, str(path))
    return [path]


def example(shape: tuple[int, ...], picture: Picture | None) -> torch.Tensor:
    if picture:
        return torch.zeros(shape[0], *shape[2:], shape[1], dtype=torch.uint8)
    return torch.zeros(shape)


def dims(axes: tuple[str, ...], picture: Picture | None) -> dict[int, Any]:
    """The axes that may change, by number."""
    order = [0, 2, 3, 1] if picture else range(len(axes))
    return {i: torch.export.Dim.AUTO for i, axis in enumerate(order) if axes[axis]}


def run(path: Path, trials: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The outputs of a saved program."""
    net = torch.export.load(str(path)).module()
    out = []
    for trial in trials:
        with torch.no_grad():
            values = net(*(torch.from_numpy(v) for v in trial.values()))
        values = values if isinstance(values, dict) else {"": values}
        out.append({k: v.numpy() for k, v in values.items()})
    return out
