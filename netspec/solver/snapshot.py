"""Snapshots: Caffe's two files, one more for what they cannot hold, and the order that makes them safe.

    PREFIX_iter_K.caffemodel     weights                                             (or .caffemodel.h5)
    PREFIX_K.netspec             places in the data, what recurrent layers carry on, random states, window of the
                                 smoothed loss: JSON
    PREFIX_iter_K.solverstate    iteration, history blobs, the name of the first     (or .solverstate.h5)

1. Each file is written under a temporary name and renamed.
2. The state comes last, and an older state of the same name goes first: where there is a state, the files beside it
   belong to it, whenever the run was stopped.
3. A run holds a lock on its prefix; the system drops it when the run ends in any way.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netspec import weights as stored
from netspec.errors import Loc, SpecError
from netspec.spec.binary import replacing
from netspec.weights import solverstate
from netspec.weights.model import Model
from netspec.weights.solverstate import State

VERSION = 2
MOST_EXTRA = 1 << 28
"""Bytes; a companion holds a few kilobytes per process and data layer."""


@dataclass(frozen=True)
class Snapshots:
    """The snapshots under one prefix; `end` is ".h5" for those in HDF5."""

    prefix: str
    end: str = ""
    keep: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.prefix).parent

    def model(self, iteration: int) -> str:
        return f"{self.prefix}_iter_{iteration}.caffemodel{self.end}"

    def state(self, iteration: int) -> str:
        return f"{self.prefix}_iter_{iteration}.solverstate{self.end}"

    def extra(self, iteration: int) -> str:
        return f"{self.prefix}_{iteration}.netspec"

    def write(self, model: Model, state: State, extra: Mapping[str, Any], net: Any = None) -> str:
        """Writes one snapshot and deletes those beyond `keep`; returns the state's path. What fails leaves nothing."""
        path = Path(self.state(state.iter))
        path.unlink(missing_ok=True)
        try:
            stored.write(self.model(state.iter), model, net)
            write_extra(self.extra(state.iter), extra)
            solverstate.write(path, state)
        except Exception:
            self.delete(state.iter)
            raise
        for old in self.iterations()[self.keep :] if self.keep else []:
            self.delete(old)
        return str(path)

    def iterations(self) -> list[int]:
        """Iterations of the complete snapshots, newest first."""
        folder, name = self.folder, re.escape(Path(self.prefix).name)
        pattern = re.compile(rf"{name}_iter_(\d+)\.solverstate{re.escape(self.end)}")
        found = [m for f in (folder.iterdir() if folder.is_dir() else ()) if (m := pattern.fullmatch(f.name))]
        return sorted((k for m in found if Path(self.model(k := int(m.group(1)))).is_file()), reverse=True)

    def newest(self) -> str | None:
        """The state file of the newest complete snapshot."""
        found = self.iterations()
        return self.state(found[0]) if found else None

    def delete(self, iteration: int) -> None:
        """Deletes one snapshot, its state first."""
        for path in (self.state(iteration), self.extra(iteration), self.model(iteration)):
            Path(path).unlink(missing_ok=True)

    def check_folder(self) -> None:
        """Makes the folder, and sees that files can be written there; SpecError where not."""
        folder = self.folder
        probe = folder / f".{Path(self.prefix).name}.{os.getpid()}.probe"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as e:
            raise SpecError(f"snapshots cannot be written to folder '{folder}': {e.strerror or e}") from None

    def clean(self) -> None:
        """Deletes temporary files that a killed run left; for the holder of the lock."""
        for left in self.folder.glob(f".{glob_text(Path(self.prefix).name)}_*.tmp*"):
            left.unlink(missing_ok=True)


def glob_text(name: str) -> str:
    """A name as a glob pattern that matches it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def model_of(state_path: str, state: State) -> Path:
    """The weights that belong to a state: `learned_net` from the current folder, else that name beside the state, else
    the state's own name beside it: the two may have been renamed together.
    """
    if not state.learned_net:
        raise SpecError("the state names no model file", Loc(state_path))
    named, here = Path(state.learned_net), Path(state_path)
    alike = here.name.replace(".solverstate", ".caffemodel")
    places = dict.fromkeys((named, here.parent / named.name, here.parent / alike))
    for path in places:
        if path.is_file() and path != here:
            return path
    raise SpecError(f"its model file is missing (looked for {', '.join(map(str, places))})", Loc(state_path))


def extra_of(state_path: str) -> Path | None:
    """The companion of a state, None where there is none (Caffe writes none)."""
    name = re.sub(r"_iter_(\d+)\.solverstate(\.h5)?$", r"_\1.netspec", state_path)
    return Path(name) if name != state_path and Path(name).is_file() else None


def write_extra(path: str, extra: Mapping[str, Any]) -> None:
    """The companion: JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"version": VERSION, **extra}))


def read_extra(path: Path) -> dict[str, Any]:
    """The companion's contents; SpecError for a file that is cut short, or no companion."""
    try:
        if path.stat().st_size > MOST_EXTRA:
            raise ValueError
        extra = json.loads(path.read_text())
        kinds = {"layers": list, "random": dict, "window": float}
        well = all(isinstance(x, kind) for name, kind in kinds.items() for x in extra[name])
        if extra["version"] != VERSION or not well or not same_ranks(extra):
            raise ValueError
    except OSError as e:
        raise SpecError(f"cannot read: {e.strerror}", Loc(str(path))) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SpecError("cut short, damaged or of another version: not a companion file", Loc(str(path))) from None
    return extra


def same_ranks(extra: Mapping[str, Any]) -> bool:
    """Whether every rank has the memories of its nets' layers and a random state."""
    ranks = extra["layers"]
    return len(ranks) == len(extra["random"]) > 0 and all(isinstance(net, dict) for rank in ranks for net in rank)


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of torch's, Python's and numpy's generators, fit for JSON."""
    kind, keys, place, has_gauss, gauss = np.random.get_state()
    return {
        "torch": pack(torch.get_rng_state()),
        "cuda": pack(torch.cuda.get_rng_state(device)) if device.type == "cuda" else None,
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), place, has_gauss, gauss],
    }


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """The reverse of `random_state`; SpecError for what is no such state."""
    try:
        _set_random_state(state, device)
    except (ValueError, TypeError, KeyError, RuntimeError) as e:
        raise SpecError(f"the saved random state is damaged ({e})") from None


def _set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(unpack(state["torch"]))
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(unpack(state["cuda"]), device)
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, place, has_gauss, normal = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), place, has_gauss, normal))


def pack(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.numpy().tobytes()).decode()


def unpack(text: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), np.uint8).copy())


def check_history(path: str, state: State, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The history blobs in the shapes the solver keeps; SpecError where another net or solver type wrote them."""
    if len(state.history) != len(shapes):
        raise SpecError(
            f"it has {len(state.history)} history blobs, this net and solver type keep {len(shapes)}", Loc(path)
        )
    for i, (blob, shape) in enumerate(zip(state.history, shapes, strict=True)):
        if strip(blob.shape) != strip(shape):
            raise SpecError(f"history blob {i} is {list(blob.shape)}, this net's is {list(shape)}", Loc(path))
    return [np.array(b, np.float32).reshape(s) for b, s in zip(state.history, shapes, strict=True)]


def strip(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without leading ones, which old files add."""
    first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return tuple(shape[first:])


class RunLock:
    """Keeps a second run out: a file locked by the system, with the holder's process id in it.

    What a killed run left is taken over, since its lock died with it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: Any = None

    def __enter__(self) -> RunLock:
        import fcntl

        while self.file is None:
            file = open(self.path, "a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                file.close()
                raise SpecError(f"another run (process {holder}) is writing here: it holds '{self.path}'") from None
            self.file = file if self._still_there(file) else file.close()
        self.file.truncate(0)
        self.file.write(f"{os.getpid()}\n")
        self.file.flush()
        return self

    def _still_there(self, file: Any) -> bool:
        """False where the holder before us deleted the file between our opening and locking it."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __exit__(self, *_: Any) -> None:
        Path(self.path).unlink(missing_ok=True)
        self.file.close()
        self.file = None
