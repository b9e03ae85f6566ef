"""The way out of Caffe: a net with its weights as ONNX, as a torch.export program, or as a PyTorch module in source.

`export` writes the file, runs it beside the net on inputs of three sizes, and keeps it only if they agree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.errors import Loc, SpecError, suggestion

if TYPE_CHECKING:
    from netspec.export.picture import Picture
    from netspec.export.verify import Difference
    from netspec.net import Net

__all__ = ["FORMATS", "export", "suffix"]

FORMATS = {".onnx": "onnx_file", ".pt2": "program", ".py": "standalone"}


def suffix(path: str | Path) -> str:
    """The suffix of a known format."""
    end = Path(path).suffix.lower()
    if end not in FORMATS:
        near = suggestion(end, FORMATS)
        raise SpecError(f"unknown suffix '{end}'{near} (known: {' '.join(FORMATS)})", Loc(str(path)))
    return end


def export(
    net: Net,
    path: str | Path,
    *,
    picture: Picture | None = None,
    fixed_size: bool = False,
    verify: bool = True,
) -> list[Difference]:
    """Writes a TEST net with its weights to `path`; the differences of all outputs at all sizes tried.

    `picture` folds its transform into the net, which then takes pixels. `fixed_size`: height and width stay as
    declared. Errors: layers that cannot be written, all at once; results that differ beyond rounding. No file is
    kept then, and an older one of that name stays as it was.
    """
    from netspec.export import verify as check
    from netspec.export.plan import make_plan

    format = import_module(f"netspec.export.{FORMATS[suffix(path)]}")
    target = Path(os.path.realpath(path))
    plan = make_plan(net, fixed_size, target.stem)
    if picture:
        picture.check(plan)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as e:
        raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(path))) from None
    try:
        written = format.write(plan, folder / target.name, picture)
        rows: list[Difference] = []
        if verify:
            trials = check.make_trials(net, plan, picture)
            rows = check.compare(plan, trials, format.run(written[0], [t.inputs for t in trials]))
            check.raise_on_difference(rows)
        for file in reversed(written):
            os.replace(file, target.with_name(file.name))
    except OSError as e:
        raise SpecError(f"cannot write: {e.strerror or e}", Loc(str(path))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows
